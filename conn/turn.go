package conn

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/internal/guard"
)

// Worker is a [Sink] that may handle messages on the goroutine that reads them. It is not asked to on a
// connection with heartbeats so frequent, or a message timeout so short, that nsqd might not hear in time.
type Worker interface {
	// Work is called by the read loop after it has delivered the n messages of a read. Nothing is read
	// until Work returns, or calls [Turn.Relieve]: then it returns true. A FIN waits for [Turn.Flush];
	// what else is queued does not.
	Work(t *Turn, n int) (relieved bool)
}

// The shortest heartbeat interval, of which nsqd waits for two, and message timeout with which a [Worker] is
// asked to work.
const (
	minWorkBeat    = 5 * time.Second
	minWorkTimeout = 10 * time.Second
)

// Works reports whether Work follows what the read loop delivers.
func (c *Conn) Works() bool { return c.reader != nil && c.reader.worker != nil }

// Turn is the task of a goroutine that reads a connection: to the end of the connection, or until
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

// Relieve makes another goroutine read on, while [Worker.Work] runs. It must be called at most once.
func (t *Turn) Relieve() {
	t.relieved.Store(true)
	t.c.out.release(t)
	t.c.read()
}

// Flush writes what is queued, for [Worker.Work]: the write loop need not be woken. It does nothing while
// the write loop writes.
func (t *Turn) Flush() {
	guard.Finally(t.flush, func(failure error) {
		if failure != nil { // user code has failed in a write
			t.c.Abort(failure)
			t.c.out.flushed()
		}
	})
}

func (t *Turn) flush() {
	for w, ok := t.take(); ok; w, ok = t.take() {
		if !t.c.write(&w) {
			t.c.out.flushed()
			return
		}
	}
}

// take returns what Flush writes next. If there is nothing, or it is for the write loop, ok is false and t
// holds nothing any more.
func (t *Turn) take() (w work, ok bool) {
	o := &t.c.out
	o.mu.Lock()
	if o.holder == t && o.pending() && !o.half && !o.dead.Load() && !o.publishesDue() {
		defer o.mu.Unlock()
		o.flushing = true
		return t.c.compose(), true
	}
	if o.holder == t {
		o.unhold()
	}
	o.unlock()
	return work{}, false
}

// hold makes what t queues wait for t.Flush, unless the write loop writes. The caller holds o.mu.
func (o *outbox) hold(t *Turn) {
	if o.idle && t != nil {
		o.idle, o.holder = false, t
	}
}

// unhold lets the write loop write. The caller holds o.mu.
func (o *outbox) unhold() { o.flushing, o.holder, o.idle = false, nil, true }

// release lets the write loop write, unless t writes or holds nothing.
func (o *outbox) release(t *Turn) {
	o.mu.Lock()
	if o.holder == t && !o.flushing {
		o.unhold()
	}
	o.unlock()
}

// flushed ends a Flush that has failed.
func (o *outbox) flushed() {
	o.mu.Lock()
	o.unhold()
	o.unlock()
}

// awaitFlush waits for the end of a Flush, after the write loop.
func (o *outbox) awaitFlush() {
	o.mu.Lock()
	for o.flushing {
		o.ready.Wait()
	}
	o.mu.Unlock()
}
