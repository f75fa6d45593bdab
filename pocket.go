package nsqx

import (
	"sync"
	"sync/atomic"

	"github.com/nsqx/nsqx/handler"
)

// maxBatch is the most messages that a worker takes from the queue at once.
const maxBatch = 16

// pocket is what a worker has taken from the queue: the message that it handles,
// and those that it handles next. While they last, the worker needs no lock that
// others want. Only its worker fills a pocket, an empty one, and holds queue.mu
// meanwhile; whoever else looks into it or takes from it holds queue.mu, too.
type pocket struct {
	current atomic.Pointer[handler.Message] // in the chain

	mu   sync.Mutex // after queue.mu
	msgs [maxBatch - 1]*handler.Message
	head int // what waits is msgs[head:tail], oldest first
	tail int

	filled bool             // and not found empty since; for its worker only
	seen   *handler.Message // current, when queue.look came by; guarded by queue.mu
}

// next makes the oldest message that waits the current one. It returns nil if
// there is none. Like queue.take it stores the message in current before anybody
// can find it missing.
func (p *pocket) next() *handler.Message {
	if !p.filled {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.head == p.tail {
		p.filled = false
		return nil
	}
	m := p.msgs[p.head]
	p.msgs[p.head] = nil
	p.head++
	p.current.Store(m)
	return m
}

// fill takes n messages, maxBatch-1 at most, from the head of r.
func (p *pocket) fill(r *ring, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range n {
		p.msgs[i] = r.pop()
	}
	p.head, p.tail, p.filled = 0, n, true
}

// empty puts all that waits back to the head of r.
func (p *pocket) empty(r *ring) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.tail > p.head {
		p.tail--
		r.unpop(p.msgs[p.tail])
		p.msgs[p.tail] = nil
	}
}

// waiting returns how many messages wait, and the oldest of them.
func (p *pocket) waiting() (n int, oldest *handler.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.head == p.tail {
		return 0, nil
	}
	return p.tail - p.head, p.msgs[p.head]
}

// gather puts what the pockets hold back to the head of the ring. What was in
// one pocket stays in order.
func (q *queue) gather() {
	if !q.lent {
		return
	}
	for _, p := range q.pockets {
		p.empty(&q.ring)
	}
	q.lent = false
}

// look empties the next pocket if its worker has handled the same message
// since look came by last, one round of all workers ago. So what waits behind a
// slow handler is not overtaken for long by what comes after it, although no
// worker is idle.
func (q *queue) look() {
	q.looked = (q.looked + 1) % len(q.pockets)
	p := q.pockets[q.looked]
	m := p.current.Load()
	if m != nil && m == p.seen {
		p.empty(&q.ring)
	}
	p.seen = m
}

// inPockets returns how many messages wait in pockets.
func (q *queue) inPockets() (n int) {
	if !q.lent {
		return 0
	}
	for _, p := range q.pockets {
		i, _ := p.waiting()
		n += i
	}
	q.lent = n > 0
	return n
}
