package conn

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/internal/guard"
)

// Worker is a [Sink] that may handle messages on the goroutine that reads them. It is not asked to on a
// connection with heartbeats so frequent that nsqd might miss one meanwhile.
type Worker interface {
	// Work is called by the read loop after it has delivered the n messages of a read. Until Work
	// returns, nothing is read, and what is to be written waits for [Turn.Flush]; or until
	// [Turn.Relieve] was called: then Work returns true.
	Work(t *Turn, n int) (relieved bool)
}

// minWorkBeat is the shortest heartbeat interval with which a [Worker] is asked to work: nsqd ends a
// connection after two without an answer.
const minWorkBeat = 5 * time.Second

// Works reports whether Work follows what the read loop delivers.
func (c *Conn) Works() bool { return c.reader != nil && c.reader.worker != nil }

// Turn is the time during which one goroutine reads a connection. It ends with the connection, or by
// Relieve.
type Turn struct {
	c        *Conn
	relieved atomic.Bool
}

// read begins a turn.
func (c *Conn) read() {
	t, r := &Turn{c: c}, c.reader
	go func() {
		err := r.err
		guard.Finally(func() {
			if err == nil {
				err = r.loop(t)
			}
		}, func(failure error) {
			if t.relieved.Load() {
				return
			}
			c.Abort(c.ending(cmp.Or(failure, err)))
			r.cur.release()
			close(r.ended)
		})
	}()
}

// Relieve makes another goroutine read on while [Worker.Work] runs, and the write loop write. It must be
// called at most once.
func (t *Turn) Relieve() {
	t.relieved.Store(true)
	t.c.out.unhold(t, false)
	t.c.read()
}

// Flush writes what is queued, on the goroutine that runs [Worker.Work], so that the write loop need not be
// woken. It does nothing while the write loop writes.
func (t *Turn) Flush() {
	defer t.c.out.unhold(t, true) // also if user code panics
	for {
		w, ok := t.take()
		if !ok || !t.c.write(&w) {
			return
		}
	}
}

// take returns what Flush writes next. ok is false if there is nothing, or it is for the write loop.
func (t *Turn) take() (w work, ok bool) {
	o := &t.c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.holder != t {
		return work{}, false
	}
	if o.flushing = o.pending() && !o.half && !o.dead.Load() && !o.publishesDue(); !o.flushing {
		return work{}, false
	}
	return t.c.compose(), true
}

// hold makes what is queued wait for t.Flush, unless the write loop writes. The caller holds o.mu.
func (o *outbox) hold(t *Turn) {
	if o.idle {
		o.idle, o.holder = false, t
	}
}

// unhold ends the hold of t, or of any turn if t is nil. A turn that is writing keeps it until it has
// flushed.
func (o *outbox) unhold(t *Turn, flushed bool) {
	o.mu.Lock()
	o.unholdLocked(t, flushed)
	o.unlock()
}

func (o *outbox) unholdLocked(t *Turn, flushed bool) {
	if o.holder == nil || t != nil && o.holder != t {
		return
	}
	if o.flushing = o.flushing && !flushed; !o.flushing {
		o.holder, o.idle = nil, true
	}
}
