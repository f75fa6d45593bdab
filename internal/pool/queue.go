package pool

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// queue holds the messages that wait for a worker, oldest first. Read loops put a whole read's
// messages in at a time; a worker takes one, or a batch while handlers are quick.
//
// Invariant while mu is free: if a message waits, there are as many workers as there may be, and every
// one is busy, or one is waking up or starting. A worker sleeps only after it found nothing in the deque
// and, having reclaimed them, in the batches. Later messages come by put, which wakes a worker, or starts
// one if none sleeps; and a worker that takes something, or ends, does the same while anything is left.
// So one message wakes one worker, a backlog wakes all, and nothing waits behind a handler that hangs
// while another worker is idle.
type queue struct {
	mu           sync.Mutex
	deque        deque
	capacity     capacity // of the deque
	overCapacity bool     // there was no room, and more than half of the capacity still waits
	batchSize    int      // most messages that a worker takes at once
	suspended    bool     // put takes nothing
	closed       bool     // put takes nothing any more
	asleep       []*batch // of sleeping workers; the last is woken first, since its memory is warm
	woken        int      // workers that were woken or started, and do not run yet

	workers     int      // how many there may be
	batches     []*batch // of those that there are
	start       func()   // starts a worker, which calls join and started
	hasReserved bool     // a batch may hold messages that wait or are not acked
	looked      int      // index of the batch that reclaimStuck has seen last
	busyTime    busyTime
	group       *grouping // nil: workers take messages one by one

	processors int
}

func newQueue() *queue {
	q := &queue{deque: newDeque(), batchSize: 1, processors: runtime.GOMAXPROCS(0), start: func() {}}
	q.busyTime.since = time.Now()
	return q
}

// Why Put takes no messages, or not all.
var (
	ErrClosed    = errors.New("nsqx: queue is closed")
	ErrSuspended = errors.New("nsqx: queue is suspended")
	ErrFlood     = errors.New("nsqx: nsqd sends far more messages than RDY allows")
)

// put adds messages and wakes a worker. It removes from the front what cannot be answered any more,
// and returns that as dead. What is not added (the newest of msgs) is rest. waits reports whether there
// are more messages than idle workers, or a worker takes several.
func (q *queue) put(msgs []handler.Delivery) (dead []*handler.Delivery, rest []handler.Delivery, waits bool, err error) {
	q.mu.Lock()
	defer q.unlock()
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
	waits = q.deque.n > q.idle() || q.batchSize > 1 && q.deque.n >= 2*q.among() // then they wait in a batch: see take
	return dead, rest, waits, err
}

// take blocks for a message and marks it current under mu, so close sees every message either queued
// or owned. It counts the previous message as finished unless it was detached. It returns nil when
// the worker must exit: the queue is closed, or there are too many workers.
func (q *queue) take(b *batch) *handler.Delivery {
	if m := b.next(); m != nil {
		return m
	}
	b.flushAcks()
	q.mu.Lock()
	defer q.unlock()
	for {
		if b.leaves || q.closed || len(q.batches) > q.workers {
			q.leave(b)
			return nil
		}
		if q.deque.n == 0 {
			q.reclaimAll()
		}
		if q.deque.n > 0 {
			break
		}
		q.sleep(b)
	}
	n := 1
	if q.batchSize > 1 {
		n = max(min(q.deque.n/q.among(), q.batchSize), 1)
	}
	msgs := q.deque.popFront(n)
	m := b.fill(msgs)
	q.hasReserved = q.hasReserved || len(msgs) > 1
	if q.hasReserved {
		q.reclaimStuck()
	}
	return m
}

// leave removes the batch of a worker that exits. The caller holds mu.
func (q *queue) leave(b *batch) {
	b.clear()
	if !b.leaves {
		q.forget(b)
	}
}

// forget removes the batch of a worker that takes no further message. The caller holds mu.
func (q *queue) forget(b *batch) {
	i := slices.Index(q.batches, b)
	q.batches = slices.Delete(q.batches, i, i+1)
	q.busyTime.add(-1)
}

// among is the number of workers that share what waits. With the quickest handlers no more run at a
// time than there are processors, or twice as many if they wait for a moment. The caller holds mu.
func (q *queue) among() int {
	if q.batchSize < maxBatch {
		return q.workers
	}
	return min(q.workers, 2*q.processors)
}

// missing is how many workers may be started. The caller holds mu.
func (q *queue) missing() int {
	if q.closed && q.deque.n == 0 {
		return 0
	}
	return max(q.workers-len(q.batches), 0)
}

// idle is how many workers wait for a message, or have not started. The caller holds mu.
func (q *queue) idle() int { return len(q.asleep) + q.woken + q.missing() }

// resize sets the number of workers, at least 1. Of too many workers those exit that come first for a
// message.
func (q *queue) resize(n int) {
	q.mu.Lock()
	defer q.unlock()
	q.workers = n
	if len(q.batches) > n && !q.closed {
		q.reclaimAll()
		q.wakeAll()
	}
}

// join adds the batch of a worker that is about to start. The caller holds mu.
func (q *queue) join(b *batch) {
	b.wake.L = &q.mu
	q.batches = append(q.batches, b)
	q.busyTime.add(1)
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
	for _, b := range q.asleep {
		b.asleep, b.leaves = false, true
		b.wake.Signal()
	}
	q.batches = slices.DeleteFunc(q.batches, func(b *batch) bool { return b.leaves })
	q.asleep = nil
	if q.deque.n == 0 && len(q.deque.runs) > leastRuns {
		q.deque = newDeque()
	}
}

// setBatchSize sets the most messages, 1 to maxBatch, that a worker takes at once. It reclaims all
// batches: a quick worker fills its batch again at once, and that of another must not last.
func (q *queue) setBatchSize(n int) {
	q.mu.Lock()
	q.reclaimAll()
	q.batchSize = n
	q.unlock()
}

// shed removes what waits beyond keep messages, those in batches included: the newest, newest
// first.
func (q *queue) shed(keep int) []*handler.Delivery {
	q.mu.Lock()
	defer q.unlock()
	return q.removeNewest(keep)
}

// removeNewest is shed for a caller that holds mu.
func (q *queue) removeNewest(keep int) (rest []*handler.Delivery) {
	q.reclaimAll() // the newest may be in a batch
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
	q.reclaimAll()
	keep := q.lastGroup()
	if keep > 0 {
		rest = q.removeNewest(keep)
	}
	for q.deque.n > keep {
		rest = append(rest, &q.deque.popFront(1)[0])
	}
	q.closed = true
	q.wakeAll()
	q.unlock()
	return rest
}
