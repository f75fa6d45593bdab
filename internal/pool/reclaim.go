package pool

import (
	"math"

	"github.com/nsqx/nsqx/handler"
)

// reclaimAll moves what waits in batches to the front of the deque; the messages of one batch keep
// their order. The caller holds mu.
func (q *queue) reclaimAll() {
	if !q.hasReserved {
		return
	}
	for _, b := range q.batches {
		b.reclaim(&q.deque)
	}
	q.hasReserved = false
}

// reclaimStuck reclaims the next batch if its worker has handled the same message since reclaimStuck
// last looked, one round of all workers ago: what waits behind a slow handler is not overtaken for
// long, although no worker is idle. The caller holds mu.
func (q *queue) reclaimStuck() {
	q.looked = (q.looked + 1) % len(q.batches)
	b := q.batches[q.looked]
	m := b.current()
	if m != nil && m == b.seen {
		b.reclaim(&q.deque)
	}
	b.seen = m
}

// reserved returns how many messages wait in batches. The caller holds mu.
func (q *queue) reserved() (n int) {
	if !q.hasReserved {
		return 0
	}
	q.hasReserved = false
	for _, b := range q.batches {
		c := unpack(b.cursor.Load())
		n += int(c.end - c.next)
		q.hasReserved = q.hasReserved || c.next < c.end || c.unacked()
	}
	return n
}

// popDead removes from the front what cannot be answered any more. The caller holds mu.
func (q *queue) popDead() (dead []*handler.Delivery) {
	for q.deque.n > 0 && isDead(q.deque.oldest()) {
		dead = append(dead, &q.deque.popFront(1)[0])
	}
	return dead
}

// sweep removes from anywhere what cannot be answered any more. The caller holds mu.
func (q *queue) sweep() (dead []*handler.Delivery) {
	for range q.deque.used {
		for msgs := q.deque.popFront(math.MaxInt); len(msgs) > 0; {
			alive := 0
			for alive < len(msgs) && !isDead(&msgs[alive]) {
				alive++
			}
			if alive > 0 {
				q.deque.pushBack(msgs[:alive])
			}
			if msgs = msgs[alive:]; len(msgs) > 0 {
				dead = append(dead, &msgs[0])
				msgs = msgs[1:]
			}
		}
	}
	return dead
}

// isDead reports whether nsqd no longer waits for an answer, or is gone.
func isDead(m *handler.Delivery) bool { return Lost(m) || !m.Answerable() }

// dropDead is popDead for a caller that does not hold mu.
func (q *queue) dropDead() []*handler.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.popDead()
}
