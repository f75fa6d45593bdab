package pool

import (
	"slices"
	"time"

	"github.com/nsqx/nsqx/conn"
)

// While handlers are quick, the goroutine that reads handles what it has read, as one of the workers: to
// wake another goroutine, and the write loop after it, costs more than the handler. Then it writes the
// answers, and reads on. If that takes long, another goroutine reads in its place, and it ends after its
// message, as a worker that is one too many.
const (
	// quick is the longest mean service time at which read loops handle messages: with cold caches a
	// handler that does nothing takes half as long.
	quick = 50 * time.Microsecond

	// alone is how long messages may wait for a read loop before a worker is woken for them; four times as
	// long while they take less than cheap each: then to hand them over costs as much as handling them
	// (with OpenTelemetry a sender's messages 7 to 16 % more CPU).
	alone = 100 * time.Microsecond
	cheap = 2 * time.Microsecond

	// A stall is a read loop that is busy for longer than slow. Others pay for it: what has arrived could
	// have been handled. So workers handle all messages for a while, at most mostBarred, once stalls
	// were more than 1/rarely of the time lately.
	slow       = time.Millisecond
	rarely     = 200
	lately     = 10 * time.Second
	mostBarred = 5 * time.Minute

	unmeasured = 4 * quick // the mean at first: 11 quick messages away
)

// readers are the read loops that handle messages. Guarded by queue.mu.
type readers struct {
	mean     time.Duration // of the time that handlers take, the last ones most
	barred   time.Time     // until when workers handle all messages, if that is later than now
	bar      bool          // it was later when it was looked at last
	stalls   time.Time     // the end of the last stall
	busy     []*worker     // that handle messages
	writing  []*worker     // that have handled messages, and write answers
	spare    []*worker     // for others
	expected int           // messages whose read loops are about to come for them
}

// measured notes that n handlers, at least one, took d together.
func (r *readers) measured(d time.Duration, n int) {
	r.mean += (min(d/time.Duration(n), slow) - r.mean) * time.Duration(min(n, 8)) / 8
}

// stalled notes that a read loop was busy for d until now, if that is long. What others stalled at the same
// time counts once.
func (r *readers) stalled(d time.Duration, now time.Time) {
	if d <= slow {
		return
	}
	d = min(d, now.Sub(r.stalls))
	r.stalls = now
	from := now.Add(-lately)
	if r.barred.After(from) {
		from = r.barred
	}
	r.barred = from.Add(rarely * min(d, lately+mostBarred))
	if latest := now.Add(mostBarred); r.barred.After(latest) {
		r.barred = latest
	}
	r.bar = r.barred.After(now)
}

// suffice reports whether read loops handle n messages that wait without the help of a worker.
func (r *readers) suffice(n int) bool {
	return r.expected+len(r.busy) > 0 && r.mean <= quick && !r.bar && time.Duration(n)*r.mean <= r.alone()
}

func (r *readers) alone() time.Duration {
	if r.mean <= cheap {
		return 4 * alone
	}
	return alone
}

// Work handles messages on a goroutine that reads and has just put n, if that is better than to wake a
// worker: see [conn.Worker].
func (p *Pool) Work(t *conn.Turn, n int) (relieved bool) {
	w := p.queue.beginRead(t, n)
	if w == nil {
		return false
	}
	w.p = p
	p.label()
	if w.run(nil); !w.drained {
		return true
	}
	defer func() { relieved = p.queue.endWrite(w) }() // also if user code calls Goexit
	t.Flush()
	return
}

// beginRead returns a worker for a read loop that has put n messages; nil if it is not to handle any.
func (q *queue) beginRead(t *conn.Turn, n int) *worker {
	q.mu.Lock()
	defer q.unlock()
	r := &q.readers
	r.expected -= n
	if q.group != nil || r.mean > quick || q.closed || q.deque.n == 0 || q.running() >= q.workers {
		return nil
	}
	now := time.Now()
	if r.bar = now.Before(r.barred); r.bar {
		return nil
	}
	q.busyTime.add(1, now)
	var w *worker
	if last := len(r.spare) - 1; last >= 0 {
		w, r.spare = r.spare[last], r.spare[:last]
	} else {
		w = new(worker)
	}
	w.turn, w.reads, w.looked, w.drained, w.since, w.handled = t, true, false, false, now, 0
	r.busy = append(r.busy, w)
	return w
}

// takeRead is take for a read loop. It ends the work when nothing waits, or workers are to handle what is
// left. The caller holds mu.
func (q *queue) takeRead(w *worker) bool {
	const often = 8 // messages between looks at the clock
	n := w.handled
	if q.deque.n > 0 && q.running() <= q.workers && (n == 0 || n%often > 0 || time.Since(w.since) <= 2*q.readers.alone()) {
		w.current = q.deque.popFront(1)
		w.handled++
		return true
	}
	r, now := &q.readers, time.Now()
	q.busyTime.add(-1, now)
	r.stalled(now.Sub(w.since), now)
	if n > 0 {
		r.measured(now.Sub(w.since), n)
	}
	r.busy = remove(r.busy, w)
	r.writing = append(r.writing, w)
	w.drained, w.looked = true, false
	q.left = q.deque.n > 0
	return false
}

// endWrite ends the work of a read loop that has written the answers. It returns true if it was relieved
// meanwhile.
func (q *queue) endWrite(w *worker) (relieved bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !w.reads {
		return true
	}
	r := &q.readers
	r.writing = remove(r.writing, w)
	w.turn, w.reads, w.read, w.ctx = nil, false, nil, nil
	r.spare = append(r.spare, w)
	return false
}

func remove(workers []*worker, w *worker) []*worker {
	i := slices.Index(workers, w)
	return slices.Delete(workers, i, i+1)
}

// relieveStalled relieves the read loops that did the same when it looked last.
func (q *queue) relieveStalled() {
	q.mu.Lock()
	defer q.unlock()
	for _, w := range slices.Concat(q.readers.busy, q.readers.writing) {
		if w.looked {
			q.relieve(w)
		}
		w.looked = true
	}
}

// exited relieves a read loop whose goroutine user code has ended.
func (q *queue) exited(w *worker) {
	q.mu.Lock()
	defer q.unlock()
	if w.reads {
		q.relieve(w)
	}
}

// relieve makes another goroutine read in place of one that handles messages, which becomes a worker, or
// writes. The caller holds mu.
func (q *queue) relieve(w *worker) {
	r := &q.readers
	if w.reads = false; w.drained {
		r.writing = remove(r.writing, w)
	} else {
		now := time.Now()
		r.busy = remove(r.busy, w)
		r.stalled(now.Sub(w.since), now)
		q.present, q.all = append(q.present, w), append(q.all, w)
	}
	w.turn.Relieve()
}
