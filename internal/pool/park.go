package pool

import "github.com/nsqx/nsqx/handler"

// parkWorker takes a message whose handler has returned without an answer. Its worker waits for the
// answer in the chain, and then exits; another worker takes its place.
func (p *Pool) parkWorker(m *handler.Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start(p.queue.park(m))
}

// park removes the batch of the worker that handles m, which will handle no further message, and
// returns how many workers are to be started.
func (q *queue) park(m *handler.Delivery) (missing int) {
	q.mu.Lock()
	defer q.unlock()
	for _, b := range q.batches {
		if b.current() != m {
			continue
		}
		b.reclaim(&q.deque)
		b.parked = true
		q.forget(b)
		if q.closed {
			return 0
		}
		return max(q.workers-len(q.batches), 0)
	}
	return 0 // parked already, or settled
}
