package nsqx

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// queue holds the messages that wait for a worker, oldest first. Read loops put
// a whole read's messages in at a time; workers take one, or if there are many
// a batch: one to handle at once, the others for their pockets.
//
// What holds whenever mu is free: if something waits, in the ring or in a pocket,
// then every worker is busy, or one is on its way to look for it. For a worker
// goes to sleep only when it finds nothing in the ring and, having emptied them,
// in the pockets, which nobody can fill meanwhile. After that things wait again
// when put has brought them, which wakes a worker; and a worker that has taken
// something, or that ends, wakes the next while anything is left. So a single
// message wakes a single worker and a backlog wakes them all, and nothing waits
// behind a handler that hangs while another worker is idle.
type queue struct {
	mu      sync.Mutex
	ring    ring
	limit   bound     // of the ring
	crowded bool      // there was no room, and more than half of the limit still waits
	batch   int       // most messages that a worker takes at once
	held    bool      // nothing gets in for now
	closed  bool      // nothing more gets in
	asleep  []*pocket // of workers that sleep; who slept in last is woken first, since its memory is still near
	woken   int       // workers that were woken and have not come yet

	workers int       // how many there shall be
	pockets []*pocket // of those that there are
	lent    bool      // pockets may hold messages that wait, or that nsqd was not told of; if false, none does
	looked  int       // which pocket look has seen last
	clock   clock

	processors int // that handlers may run on
}

func newQueue(limit int) *queue {
	q := &queue{ring: newRing(), limit: bound{limit, math.MaxInt}, batch: 1, processors: runtime.GOMAXPROCS(0)}
	q.clock.since = time.Now()
	return q
}

// Why put takes no messages, or not all.
var (
	errQueueClosed = errors.New("nsqx: queue is closed")
	errQueueHeld   = errors.New("nsqx: queue is held")
	errFlood       = errors.New("nsqx: nsqd sends far more messages than RDY allows")
)

// put adds messages and wakes a worker. It first drops from the head what no
// answer can be given to any more, and returns that. What was not added, because
// the queue is closed or held or would hold more than its limit, is overflow: the
// newest of msgs.
func (q *queue) put(msgs []handler.Delivery) (dead []*handler.Delivery, overflow []handler.Delivery, err error) {
	q.mu.Lock()
	defer q.unlock()
	dead = q.popDead()
	switch {
	case q.closed:
		return dead, msgs, errQueueClosed
	case q.held:
		return dead, msgs, errQueueHeld
	}
	if overflow = q.ring.add(msgs, q.limit); len(overflow) > 0 {
		dead = append(dead, q.sweep()...)
		overflow = q.ring.add(overflow, q.limit)
	}
	if len(overflow) > 0 {
		q.crowded = true
		err = fmt.Errorf("%w: %d of %d bytes wait for a handler, at most %d of %d bytes may",
			errFlood, q.ring.n, q.ring.bytes, q.limit.messages, q.limit.bytes)
	}
	return dead, overflow, err
}

// take waits for a message, and makes it p's current one before anybody can find
// it missing: who has closed the queue then sees all that is left either in what
// close returned or with a worker. The current one of before is finished, or has been
// answered otherwise. It returns nil when the worker shall end: the queue is closed,
// or there are too many workers; p is out of the queue then, and empty.
func (q *queue) take(p *pocket) *handler.Delivery {
	if m := p.next(); m != nil {
		return m
	}
	p.tell()
	q.mu.Lock()
	defer q.unlock()
	for {
		if q.closed || len(q.pockets) > q.workers {
			p.clear()
			i := slices.Index(q.pockets, p)
			q.pockets = slices.Delete(q.pockets, i, i+1)
			q.clock.add(-1)
			return nil
		}
		if q.ring.n == 0 {
			q.gather()
		}
		if q.ring.n > 0 {
			break
		}
		q.sleep(p)
	}
	n := 1
	if q.batch > 1 {
		n = max(min(q.ring.n/q.among(), q.batch), 1)
	}
	msgs := q.ring.pop(n)
	m := p.fill(msgs)
	q.lent = q.lent || len(msgs) > 1
	if q.lent {
		q.look()
	}
	return m
}

// among is how many workers share what waits: all; but of handlers that are as quick
// as can be no more run at once than there are processors, or twice as many if they
// wait for a moment. The caller holds mu.
func (q *queue) among() int {
	if q.batch < maxBatch {
		return len(q.pockets)
	}
	return min(len(q.pockets), 2*q.processors)
}

// resize makes n, at least 1, the number of workers, and returns how many are
// missing: so many are to be started, and their pockets to join. If there are too
// many, those end that come first for a message; they need not handle what is in
// their pockets before.
func (q *queue) resize(n int) (missing int) {
	q.mu.Lock()
	defer q.unlock()
	q.workers = n
	if q.closed {
		return 0
	}
	if len(q.pockets) > n {
		q.gather()
		q.rouseAll()
	}
	return max(n-len(q.pockets), 0)
}

// join adds the pocket of a worker that is about to start.
func (q *queue) join(p *pocket) {
	q.mu.Lock()
	p.wake.L = &q.mu
	q.pockets = append(q.pockets, p)
	q.clock.add(1)
	q.mu.Unlock()
}

// setLimit sets how many messages, and bytes of bodies, the queue holds at most,
// workers' pockets not counted. What it holds already stays.
func (q *queue) setLimit(messages, bytes int) {
	q.mu.Lock()
	q.limit = bound{messages, bytes}
	q.mu.Unlock()
}

// isCrowded says whether there was no room for a message, and more than half of
// the limit still waits.
func (q *queue) isCrowded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.crowded = q.crowded && (q.ring.n > q.limit.messages/2 || q.ring.bytes > q.limit.bytes/2)
	return q.crowded
}

// setBatch sets the most messages, 1 to maxBatch, that a worker takes at once;
// it is 1 until then. A lower one holds for what has been taken, too.
func (q *queue) setBatch(n int) {
	q.mu.Lock()
	if n < q.batch {
		q.gather()
	}
	q.batch = n
	q.unlock()
}

// popDead takes out of the head what no answer can be given to any more.
func (q *queue) popDead() (dead []*handler.Delivery) {
	for q.ring.n > 0 && isDead(q.ring.oldest()) {
		dead = append(dead, &q.ring.pop(1)[0])
	}
	return dead
}

// sweep takes out what no answer can be given to any more, wherever it is.
func (q *queue) sweep() (dead []*handler.Delivery) {
	for range q.ring.used {
		for msgs := q.ring.pop(math.MaxInt); len(msgs) > 0; {
			alive := 0
			for alive < len(msgs) && !isDead(&msgs[alive]) {
				alive++
			}
			if alive > 0 {
				q.ring.push(msgs[:alive])
			}
			if msgs = msgs[alive:]; len(msgs) > 0 {
				dead = append(dead, &msgs[0])
				msgs = msgs[1:]
			}
		}
	}
	return dead
}

// isDead says whether nsqd has stopped waiting for an answer, or is gone.
func isDead(m *handler.Delivery) bool { return lost(m) || !m.Answerable() }

// dropDead takes out of the head what no answer can be given to any more, as put
// does.
func (q *queue) dropDead() []*handler.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.popDead()
}

// trim takes out what waits beyond keep messages, those in pockets included: the
// newest, newest first.
func (q *queue) trim(keep int) (rest []*handler.Delivery) {
	q.mu.Lock()
	defer q.unlock()
	return q.cut(keep)
}

// cut is trim for a caller who holds mu.
func (q *queue) cut(keep int) (rest []*handler.Delivery) {
	q.gather() // or the newest might be there
	for q.ring.n > keep {
		rest = append(rest, q.ring.unpush())
	}
	return rest
}

// hold takes out all that waits, newest first, and lets nothing in until release:
// what no worker has taken when it returns, none takes.
func (q *queue) hold() (rest []*handler.Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = true
	return q.cut(0)
}

// release undoes hold.
func (q *queue) release() {
	q.mu.Lock()
	q.held = false
	q.mu.Unlock()
}

// close ends put and take, and returns what was waiting.
func (q *queue) close() (rest []*handler.Delivery) {
	q.mu.Lock()
	q.gather()
	for q.ring.n > 0 {
		rest = append(rest, &q.ring.pop(1)[0])
	}
	q.closed = true
	q.rouseAll()
	q.mu.Unlock()
	return rest
}

// waiting returns how many messages wait, those in pockets included.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ring.n + q.inPockets()
}

// current returns the message that a worker handles; nil if it handles none.
func (q *queue) current(p *pocket) *handler.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	return p.current()
}

// idle returns how many workers wait for a message.
func (q *queue) idle() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.asleep) + q.woken
}

// spent returns for how long workers have been busy, all together, running
// handlers included.
func (q *queue) spent() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.clock.add(0)
	return q.clock.total
}

// oldest returns the message that has waited longest; nil if none waits. A worker
// may take it at any time.
func (q *queue) oldest() *handler.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	oldest := q.ring.oldest()
	if !q.lent {
		return oldest
	}
	for _, p := range q.pockets {
		if _, m := p.waiting(); m != nil && (oldest == nil || m.Received().Before(oldest.Received())) {
			oldest = m
		}
	}
	return oldest
}
