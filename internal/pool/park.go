package pool

import "github.com/nsqx/nsqx/handler"

// park takes a message whose handler has returned without an answer. Its worker waits for the answer in
// the chain, and then exits; another worker may take its place.
func (q *queue) park(m *handler.Delivery) {
	q.mu.Lock()
	defer q.unlock()
	for _, w := range q.readers.busy {
		if w.has(m) {
			q.relieve(w) // it is present then
			break
		}
	}
	for _, w := range q.present { // it is not among them if it is parked already, or settled
		if w.has(m) {
			q.forget(w)
			w.leaves = true
			return
		}
	}
}
