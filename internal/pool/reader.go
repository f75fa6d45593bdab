package pool

import (
	"runtime/pprof"
	"slices"
	"time"

	"github.com/nsqx/nsqx/conn"
)

// While handlers are quick, the goroutine that reads handles what it has read, as one of the workers: to
// wake another goroutine, and the write loop after it, costs more than the handler. Then it writes the
// answers, and reads on. If that takes long, another goroutine reads in its place, and it goes on as an
// ordinary worker.
const (
	// quick is the longest mean service time at which read loops handle messages: with cold caches a
	// handler that does nothing takes half as long.
	quick = 50 * time.Microsecond

	// alone is how long messages may wait for a read loop before a worker is woken for them.
	alone = 100 * time.Microsecond

	// slow is how long a read loop may be busy. What is longer is a stall, for which others pay that could
	// have been handled meanwhile: workers handle all messages once stalls were more than 1/rarely of the
	// time lately.
	slow   = time.Millisecond
	rarely = 200
	lately = 10 * time.Second

	unmeasured = 4 * quick // the mean at first: 11 quick messages away
)

// readers are the read loops that handle messages. Guarded by queue.mu.
type readers struct {
	mean     time.Duration // of the time that handlers take, the last ones most
	barred   time.Time     // until when workers handle all messages, if that is later than now
	busy     []*worker     // that handle messages
	spare    []*worker     // for others
	expected int           // messages whose read loops are about to come for them
}

// measured notes that n handlers, at least one, took d together.
func (r *readers) measured(d time.Duration, n int) {
	r.mean += (min(d/time.Duration(n), slow) - r.mean) * time.Duration(min(n, 8)) / 8
}

// stalled notes that a read loop was busy for d, if that is long.
func (r *readers) stalled(d time.Duration, now time.Time) {
	if d <= slow {
		return
	}
	if least := now.Add(-lately); r.barred.Before(least) {
		r.barred = least
	}
	r.barred = r.barred.Add(rarely * min(d, time.Hour))
}

// suffice reports whether read loops handle n messages that wait without the help of a worker.
func (r *readers) suffice(n int) bool {
	return r.expected+len(r.busy) > 0 && r.mean <= quick && time.Duration(n)*r.mean <= alone
}

// Work handles messages on a goroutine that reads and has just put n, if that is better than to wake a
// worker: see [conn.Worker].
func (p *Pool) Work(t *conn.Turn, n int) (relieved bool) {
	w := p.queue.beginRead(t, n)
	if w == nil {
		return false
	}
	w.p = p
	if p.cfg.Labels != nil {
		pprof.SetGoroutineLabels(p.cfg.Labels)
	}
	return !w.run(nil)
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
	if now.Before(r.barred) {
		return nil
	}
	q.busyTime.add(1, now)
	var w *worker
	if last := len(r.spare) - 1; last >= 0 {
		w, r.spare = r.spare[last], r.spare[:last]
	} else {
		w = new(worker)
	}
	w.turn, w.reads, w.looked, w.since = t, true, false, now
	w.limit, w.handled = int(2*alone/max(r.mean, 1)), 0
	r.busy = append(r.busy, w)
	return w
}

// endRead ends the work of a read loop, and returns true, unless it was relieved. Workers handle what it
// leaves.
func (q *queue) endRead(w *worker) bool {
	q.mu.Lock()
	defer q.unlock()
	if !w.reads {
		return false
	}
	q.left = q.deque.n > 0
	r, now := &q.readers, time.Now()
	r.remove(w)
	q.busyTime.add(-1, now)
	r.stalled(now.Sub(w.since), now)
	if w.handled > 0 {
		r.measured(w.took, w.handled)
	}
	w.turn, w.reads, w.read, w.ctx = nil, false, nil, nil
	r.spare = append(r.spare, w)
	q.endAll()
	return true
}

func (r *readers) remove(w *worker) {
	i := slices.Index(r.busy, w)
	r.busy = slices.Delete(r.busy, i, i+1)
}

// relieveStalled relieves the read loops that were busy when it looked last.
func (q *queue) relieveStalled() {
	q.mu.Lock()
	defer q.unlock()
	for _, w := range slices.Clone(q.readers.busy) {
		if w.looked {
			q.relieve(w)
		}
		w.looked = true
	}
}

// relieve makes a worker of a read loop; another goroutine reads in its place. The caller holds mu.
func (q *queue) relieve(w *worker) {
	if !w.reads {
		return
	}
	w.reads = false
	w.wake.L = &q.mu
	q.readers.remove(w)
	q.present, q.all = append(q.present, w), append(q.all, w)
	w.turn.Relieve()
	now := time.Now()
	q.readers.stalled(now.Sub(w.since), now)
}

// exited relieves a read loop whose goroutine user code has ended.
func (q *queue) exited(w *worker) {
	q.mu.Lock()
	defer q.unlock()
	q.relieve(w)
}
