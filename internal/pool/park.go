package pool

import "github.com/nsqx/nsqx/handler"

// parkWorker takes a message whose handler has returned without an answer. Its worker waits for the
// answer in the chain, and then exits; another worker takes its place.
func (p *Pool) parkWorker(m *handler.Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.all) - 1; i >= 0; i-- { // those that were started last are not parked
		if w := p.all[i]; w.current() == m {
			p.start(p.queue.park(&w.batch))
			return
		}
	}
}

// park removes the batch of a worker that will handle no further message, and returns how many
// workers are to be started.
func (q *queue) park(b *batch) (missing int) {
	q.mu.Lock()
	defer q.unlock()
	if b.parked {
		return 0
	}
	b.reclaim(&q.deque)
	b.parked = true
	q.forget(b)
	if q.closed {
		return 0
	}
	return max(q.workers-len(q.batches), 0)
}
