package nsqx

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nsqx/nsqx/handler"
)

// queue holds the messages that wait for a worker, oldest first. Read loops put
// a whole read's messages in at a time; workers take one.
type queue struct {
	mu     sync.Mutex
	filled sync.Cond          // signalled for a worker that waits
	ring   []*handler.Message // its length is a power of two
	head   int
	n      int
	limit  int  // most messages held
	closed bool // nothing more gets in
	idle   int  // workers that wait
	woken  int  // those of them that were signalled and have not come yet
}

func newQueue(limit int) *queue {
	q := &queue{ring: make([]*handler.Message, 64), limit: limit}
	q.filled.L = &q.mu
	return q
}

// Why put takes no messages.
var (
	errQueueClosed = errors.New("nsqx: queue is closed")
	errFlood       = errors.New("nsqx: nsqd sends far more messages than RDY allows")
)

// put adds messages and wakes a worker. It first drops from the head what no
// answer can be given to any more, and returns that. If the queue is closed, or
// would hold more than its limit, nothing is added.
func (q *queue) put(msgs []handler.Message) (dead []*handler.Message, err error) {
	q.mu.Lock()
	for q.n > 0 && isDead(q.ring[q.head]) {
		dead = append(dead, q.pop())
	}
	if q.n+len(msgs) > q.limit {
		dead = append(dead, q.sweep()...)
	}
	switch {
	case q.closed:
		err = errQueueClosed
	case q.n+len(msgs) > q.limit:
		err = fmt.Errorf("%w: %d wait for a handler, at most %d may", errFlood, q.n, q.limit)
	}
	if err != nil {
		q.mu.Unlock()
		return dead, err
	}
	for q.n+len(msgs) > len(q.ring) {
		q.grow()
	}
	mask := len(q.ring) - 1
	for i := range msgs {
		q.ring[(q.head+q.n)&mask] = &msgs[i]
		q.n++
	}
	wake := q.wake()
	q.mu.Unlock()
	if wake {
		q.filled.Signal()
	}
	return dead, nil
}

// take waits for a message, and stores it in current before anybody can find it
// missing: who has closed the queue then sees all that is left either in the
// queue or with a worker. It returns nil when the queue is closed. The worker
// that comes wakes the next one if there is more to do, so that a single
// message wakes a single worker and a backlog wakes them all.
func (q *queue) take(current *atomic.Pointer[handler.Message]) *handler.Message {
	q.mu.Lock()
	for q.n == 0 {
		if q.closed {
			q.mu.Unlock()
			return nil
		}
		q.idle++
		q.filled.Wait()
		q.idle--
		q.woken = max(q.woken-1, 0)
	}
	m := q.pop()
	current.Store(m)
	wake := q.n > 0 && q.wake()
	q.mu.Unlock()
	if wake {
		q.filled.Signal()
	}
	return m
}

// wake says whether to signal, and counts it. At most one worker is on its way.
func (q *queue) wake() bool {
	if q.woken > 0 || q.idle == 0 {
		return false
	}
	q.woken++
	return true
}

func (q *queue) pop() *handler.Message {
	m := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	return m
}

// sweep takes out what no answer can be given to any more, wherever it is.
func (q *queue) sweep() (dead []*handler.Message) {
	for range q.n {
		m := q.pop()
		if isDead(m) {
			dead = append(dead, m)
			continue
		}
		q.ring[(q.head+q.n)&(len(q.ring)-1)] = m
		q.n++
	}
	return dead
}

// isDead says whether nsqd has stopped waiting for an answer, or is gone.
func isDead(m *handler.Message) bool { return lost(m) || !m.Answerable() }

func (q *queue) grow() {
	ring := make([]*handler.Message, 2*len(q.ring))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.ring, q.head = ring, 0
}

// close ends put and take, and returns what was waiting.
func (q *queue) close() []*handler.Message {
	q.mu.Lock()
	var rest []*handler.Message
	for q.n > 0 {
		rest = append(rest, q.pop())
	}
	q.closed = true
	q.mu.Unlock()
	q.filled.Broadcast()
	return rest
}

// len returns how many messages wait.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}
