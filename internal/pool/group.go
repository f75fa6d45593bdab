package pool

import (
	"math"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
)

// Group makes workers handle several messages together. A group forms at the front of the queue, and
// a free worker takes it when it is complete: it has Size messages, its first has waited for Wait or
// for half of its message timeout, it holds all that may be in flight or may wait, or the pool closes.
type Group struct {
	Size int // at least 1
	Wait time.Duration

	// Process runs the chain of a group and sets the outcome of each message. It does not panic, but
	// user code in it may call runtime.Goexit. Then Rescue sets the outcomes that are missing.
	Process func([]*handler.Message)
	Rescue  func([]*handler.Message, error)

	// Moved is called when a worker has taken a group, and when it has answered it; nil for nothing.
	Moved func()
}

// grouping is how a queue forms groups. Its fields are guarded by queue.mu.
type grouping struct {
	size, most int // messages of a group; messages in flight
	wait       time.Duration
	running    int       // messages of groups that are handled
	due        time.Time // when the group that forms is complete at the latest
	timer      *time.Timer
}

func newGrouping(g *Group) *grouping { return &grouping{size: g.Size, most: math.MaxInt, wait: g.Wait} }

// groupReady reports whether a group is complete. If not, the timer fires when it will be. The
// caller holds mu.
func (q *queue) groupReady() bool {
	g, n := q.group, q.deque.n
	switch {
	case n == 0:
		return false
	case q.closed, q.overCapacity, n >= g.size, n >= g.most-g.running:
		return true
	}
	first := q.deque.oldest()
	wait := g.wait
	if timeout := first.Source().Terms().MessageTimeout; timeout > 0 {
		wait = min(wait, timeout/2)
	}
	due := first.Received().Add(wait)
	left := time.Until(due)
	if left <= 0 {
		return true
	}
	switch {
	case g.timer == nil:
		g.timer = time.AfterFunc(left, q.look)
	case !due.Equal(g.due):
		g.timer.Reset(left)
	}
	g.due = due
	return false
}

// look wakes a worker if a group is complete.
func (q *queue) look() {
	q.mu.Lock()
	if q.group.due = (time.Time{}); q.closed {
		q.mu.Unlock()
		return
	}
	q.unlock()
}

// takeGroup blocks for a complete group. It returns false when the worker must exit.
func (q *queue) takeGroup(w *groupWorker) bool {
	q.mu.Lock()
	defer q.unlock()
	for {
		if w.leaves || len(q.present) > q.workers || q.closed && q.deque.n == 0 {
			q.leave(&w.worker)
			return false
		}
		if q.groupReady() {
			break
		}
		q.sleep(&w.worker)
	}
	for w.taken < q.group.size && q.deque.n > 0 {
		r := q.deque.popFront(q.group.size - w.taken)
		w.runs, w.taken = append(w.runs, r), w.taken+len(r)
		for i := range r {
			w.msgs = append(w.msgs, r[i].Message())
		}
	}
	q.group.running += w.taken
	return true
}

// endGroup ends a group that is answered.
func (q *queue) endGroup(w *groupWorker) {
	q.mu.Lock()
	q.group.running -= w.taken
	q.ended++
	q.succeeded += uint64(w.succeeded)
	for d, n := range w.settled {
		q.counts[d] += n
	}
	w.taken, w.succeeded, w.settled = 0, 0, counts{}
	w.runs, w.msgs = w.runs[:0], w.msgs[:0]
	q.unlock()
}

// groupWorker handles one group at a time.
type groupWorker struct {
	worker
	taken     int                // messages of the group
	succeeded int                // messages of the group whose handlers succeeded
	settled   counts             // messages of the group
	runs      []run              // the group, in order of arrival
	msgs      []*handler.Message // the group without what dropUnanswerable gave back; guarded by queue.mu
	alive     []*handler.Message // of runs, those that go to the handler
}

// run is worker.run for groups.
func (w *groupWorker) run(exit error) {
	defer func() {
		if w.handling {
			go w.run(handler.NewPanicError(guard.ErrGoexit))
		}
	}()
	if w.handling {
		w.p.cfg.Group.Rescue(w.alive, exit)
		w.settleGroup()
	}
	for w.p.queue.takeGroup(w) {
		if w.dropUnanswerable(); len(w.alive) < w.taken {
			w.p.queue.shrink(w)
		}
		w.p.moved()
		if len(w.alive) > 0 {
			w.handling = true
			w.p.cfg.Group.Process(w.alive)
		}
		w.settleGroup()
	}
}

// dropUnanswerable gives back what has no time left, or came before its time, and makes the others
// alive.
func (w *groupWorker) dropUnanswerable() {
	w.alive = w.alive[:0]
	w.read, w.since = nil, time.Now()
	for _, r := range w.runs {
		for i := range r {
			d := &r[i]
			switch {
			case w.inTime(d):
				if wait, early := w.p.comesEarly(d); early {
					w.p.postpone(d, wait)
				} else {
					w.alive = append(w.alive, d.Message())
				}
			case Interrupted(d):
				w.p.Requeue(d, handler.Interrupted, 0)
			default:
				w.p.Requeue(d, handler.Requeue, 0)
			}
		}
	}
}

// shrink makes those that are alive the group.
func (q *queue) shrink(w *groupWorker) {
	q.mu.Lock()
	w.msgs = append(w.msgs[:0], w.alive...)
	q.group.running -= w.taken - len(w.msgs)
	w.taken = len(w.msgs)
	q.unlock()
}

// settleGroup answers every message, by its outcome. Messages that dropUnanswerable gave back have
// none. Successes of one read are answered together.
func (w *groupWorker) settleGroup() {
	w.handling = false
	for _, r := range w.runs {
		first := 0
		for i := range r {
			d := &r[i]
			out := d.Outcome()
			if out.Disposition == handler.Finish && d.End() {
				continue
			}
			w.finishRun(r[first:i])
			first = i + 1
			switch out.Disposition {
			case handler.Pending:
			case handler.Finish: // the drain gave it back
				w.settled[unanswered(d)]++
				d.Release()
			default:
				w.settled[w.answer(d, out)]++
			}
		}
		w.finishRun(r[first:])
	}
	if w.p.cfg.Watching.Load() {
		for range w.succeeded {
			w.p.cfg.Succeeded()
		}
	}
	clear(w.alive)
	w.p.queue.endGroup(w)
	w.p.moved()
}

// moved tells that a worker has taken a group, or has answered it.
func (p *Pool) moved() {
	if f := p.cfg.Group.Moved; f != nil {
		f()
	}
}

// finishRun sends the FINs of messages of one read.
func (w *groupWorker) finishRun(msgs []handler.Delivery) {
	if len(msgs) > 0 {
		w.settled[w.finish(msgs)] += uint64(len(msgs))
		w.succeeded += len(msgs)
	}
}

// snapshot adds the group. The caller holds queue.mu.
func (w *groupWorker) snapshot(s *Snapshot) {
	if w.taken == 0 {
		return
	}
	msgs := make([]*handler.Delivery, len(w.msgs))
	for i, m := range w.msgs {
		msgs[i] = (*handler.Delivery)(m)
	}
	s.addBusy(msgs...)
}

// lastGroup is how many messages a free worker takes when the queue closes; there is one unless those
// that wait are to exit. The timer is needed no more. The caller holds mu.
func (q *queue) lastGroup() int {
	if q.group == nil {
		return 0
	}
	if q.group.timer != nil {
		q.group.timer.Stop()
	}
	if q.idle() <= max(len(q.present)-q.workers, 0) {
		return 0
	}
	return min(q.deque.n, q.group.size)
}
