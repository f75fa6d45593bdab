package pool

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// queue holds the messages that wait for a worker, oldest first. Read loops put a whole read's
// messages in at a time; a worker takes them one by one.
//
// Invariant while mu is free: if a message waits, as many workers are busy as there may be, or one is
// waking up or starting, or a read loop is about to come for it, or handles what came before it. A worker
// sleeps only after it found nothing. Later messages come by put, which wakes a worker, or starts
// one if none sleeps; and a worker that takes something, or ends, does the same while anything is left.
// So one message wakes one worker, a backlog wakes all, and nothing waits behind a handler that hangs while
// another worker is idle, except behind a read loop until it is relieved.
type queue struct {
	mu           sync.Mutex
	deque        deque
	capacity     capacity  // of the deque
	overCapacity bool      // there was no room, and more than half of the capacity still waits
	suspended    bool      // put takes nothing
	closed       bool      // put takes nothing any more
	asleep       []*worker // that sleep; the last is woken first, since its memory is warm
	woken        int       // workers that were woken or started, and do not run yet

	workers  int       // how many there may be
	present  []*worker // those that there are, but for parked ones and read loops
	all      []*worker // those that have not ended, but for read loops
	start    func()    // starts a worker, which calls join and started
	busyTime busyTime
	group    *grouping // nil: workers take messages one by one
	readers  readers
	left     bool // a read loop has left messages to workers, and none was woken since

	counts    counts // settled messages
	succeeded uint64 // of these, those whose handlers succeeded
	ended     uint64 // groups whose handlers have ended

	done chan struct{} // closed when the queue is closed and the last worker has ended
	over bool          // done is closed
}

func newQueue() *queue {
	q := &queue{deque: newDeque(), start: func() {}, done: make(chan struct{})}
	q.busyTime.since = time.Now()
	q.readers.mean = unmeasured
	return q
}

// Why Put takes no messages, or not all.
var (
	ErrClosed    = errors.New("nsqx: queue is closed")
	ErrSuspended = errors.New("nsqx: queue is suspended")
	ErrFlood     = errors.New("nsqx: nsqd sends far more messages than RDY allows")
)

// put adds messages and wakes a worker, unless a read loop handles them. It removes from the front what
// cannot be answered any more, and returns that as dead. What is not added (the newest of msgs) is rest.
// waits reports whether there are more messages than idle workers. works says that beginRead follows.
func (q *queue) put(msgs []handler.Delivery, works bool) (dead []*handler.Delivery, rest []handler.Delivery, waits bool, err error) {
	q.mu.Lock()
	defer q.unlock()
	if works {
		q.readers.expected += len(msgs)
	}
	dead = q.popDead()
	switch {
	case q.closed:
		return dead, msgs, false, ErrClosed
	case q.suspended:
		return dead, msgs, false, ErrSuspended
	}
	if rest = q.deque.add(msgs, q.capacity); len(rest) > 0 {
		dead = append(dead, q.sweep()...)
		rest = q.deque.add(rest, q.capacity)
	}
	if len(rest) > 0 {
		q.overCapacity = true
		err = fmt.Errorf("%w: %d messages (%d bytes) wait for a handler, at most %d (%d bytes) may",
			ErrFlood, q.deque.n, q.deque.bytes, q.capacity.messages, q.capacity.bytes)
	}
	return dead, rest, q.deque.n > q.idle(), err
}

// take blocks for a message and marks it current under mu, so close sees every message either queued
// or owned. It counts the previous message. It returns false when the worker must exit: the queue is closed,
// there are too many workers, or it is a read loop and reads on, or was one.
func (q *queue) take(w *worker) bool {
	q.mu.Lock()
	q.count(w)
	if w.reads {
		if q.takeRead(w) {
			q.mu.Unlock() // beginRead has woken a worker if one is needed
			return true
		}
		q.unlock()
		return false
	}
	defer q.unlock()
	for {
		if w.leaves || q.closed || w.turn != nil || len(q.present) > q.workers {
			q.leave(w)
			return false
		}
		if q.deque.n > 0 {
			w.current = q.deque.popFront(1)
			return true
		}
		q.sleep(w)
	}
}

// count counts the current message of w, which is settled. The caller holds mu.
func (q *queue) count(w *worker) {
	if w.current == nil {
		return
	}
	w.current = nil
	if w.turn == nil {
		q.readers.measured(w.took, 1)
	}
	if w.disposition != handler.Pending {
		q.counts[w.disposition]++
	}
	if w.success {
		q.succeeded++
	}
}

// leave removes a worker that exits. The caller holds mu.
func (q *queue) leave(w *worker) {
	if !w.leaves {
		q.forget(w)
	}
	q.left = q.deque.n > 0 // it may have been woken for that
	i := slices.Index(q.all, w)
	q.all = slices.Delete(q.all, i, i+1)
	q.endAll()
}

// endAll closes done if nothing runs or will run. The caller holds mu.
func (q *queue) endAll() {
	if q.closed && len(q.all)+len(q.readers.busy)+q.deque.n == 0 && !q.over {
		q.over = true
		close(q.done)
	}
}

// forget removes a worker that takes no further message. The caller holds mu.
func (q *queue) forget(w *worker) {
	i := slices.Index(q.present, w)
	q.present = slices.Delete(q.present, i, i+1)
	q.busyTime.add(-1, time.Now())
}

// running is how many workers and read loops handle a message, or are about to take one. The caller
// holds mu.
func (q *queue) running() int { return len(q.present) - len(q.asleep) + len(q.readers.busy) }

// missing is how many workers may be started. The caller holds mu.
func (q *queue) missing() int {
	if q.closed && q.deque.n == 0 {
		return 0
	}
	return max(q.workers-len(q.present), 0)
}

// idle is how many workers wait for a message, or have not started. The caller holds mu.
func (q *queue) idle() int {
	if q.closed && q.deque.n == 0 {
		return len(q.asleep) + q.woken
	}
	return max(q.workers-q.running(), 0) + q.woken
}

// resize sets the number of workers, at least 1. Of too many workers those exit that come first for a
// message.
func (q *queue) resize(n int) {
	q.mu.Lock()
	defer q.unlock()
	q.workers = n
	if len(q.present) > n && !q.closed {
		q.wakeAll()
	}
}

// join adds a worker that is about to start. The caller holds mu.
func (q *queue) join(w *worker) {
	w.wake.L = &q.mu
	q.present, q.all = append(q.present, w), append(q.all, w)
	q.busyTime.add(1, time.Now())
	q.woken++
}

// started is called by a worker that has joined, before it takes its first message.
func (q *queue) started() {
	q.mu.Lock()
	q.woken--
	q.mu.Unlock()
}

// rest ends the workers that sleep, and replaces a deque that has grown.
func (q *queue) rest() {
	q.mu.Lock()
	defer q.unlock()
	for _, w := range q.asleep {
		w.asleep, w.leaves = false, true
		w.wake.Signal()
	}
	q.present = slices.DeleteFunc(q.present, func(w *worker) bool { return w.leaves })
	q.asleep, q.readers.spare = nil, nil
	if q.deque.n == 0 && len(q.deque.runs) > leastRuns {
		q.deque = newDeque()
	}
}

// shed removes what waits beyond keep messages: the newest, newest first.
func (q *queue) shed(keep int) []*handler.Delivery {
	q.mu.Lock()
	defer q.unlock()
	return q.removeNewest(keep)
}

// removeNewest is shed for a caller that holds mu.
func (q *queue) removeNewest(keep int) (rest []*handler.Delivery) {
	for q.deque.n > keep {
		rest = append(rest, q.deque.popBack())
	}
	return rest
}

// suspend removes all that waits, newest first, and lets nothing in until resume. No worker takes a
// message after it has returned.
func (q *queue) suspend() []*handler.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.suspended = true
	return q.removeNewest(0)
}

// resume ends suspend.
func (q *queue) resume() {
	q.mu.Lock()
	q.suspended = false
	q.mu.Unlock()
}

// close ends put and take, and returns what was waiting, but for the group that forms: a free worker
// takes it.
func (q *queue) close() (rest []*handler.Delivery) {
	q.mu.Lock()
	keep := q.lastGroup()
	if keep > 0 {
		rest = q.removeNewest(keep)
	}
	for q.deque.n > keep {
		rest = append(rest, &q.deque.popFront(1)[0])
	}
	q.closed = true
	for _, w := range slices.Concat(q.readers.busy, q.readers.writing) { // what comes now is to be read, and given back
		q.relieve(w)
	}
	q.wakeAll()
	q.endAll()
	q.unlock()
	return rest
}
