package pool

import (
	"math"

	"github.com/nsqx/nsqx/handler"
)

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
