package pool

import (
	"context"
	"sync"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
)

// worker handles one message at a time.
type worker struct {
	p     *Pool
	group *groupWorker // that this is a part of; nil if it handles one message at a time

	handling    bool                // the current message has not returned from the chain
	disposition handler.Disposition // of the current message; Pending until it is settled
	success     bool                // its handler succeeded
	since       time.Time           // when it was taken, or the read loop began; zero after sleep
	took        time.Duration       // for it, unless a read loop handled it

	read  *handler.Read   // of the message that inTime has seen last
	ctx   context.Context // of its source
	lasts bool            // that context's time lasts for the messages of the read: see inTime

	// Guarded by queue.mu; the worker itself reads current without.
	current run // the message that is handled; empty for none
	wake    sync.Cond
	asleep  bool // it waits for wake
	leaves  bool // it takes no further message, and is not in queue.present

	// Of a read loop: see Work. reads and looked are guarded by queue.mu.
	turn    *conn.Turn // nil for others
	reads   bool       // it is to read on
	looked  bool       // relieveStalled has seen it
	drained bool       // it has handled what it is to handle
	handled int        // messages
}

// has reports whether w handles m. The caller holds queue.mu.
func (w *worker) has(m *handler.Delivery) bool { return len(w.current) > 0 && &w.current[0] == m }

// run handles messages until the queue has none for this worker any more. If user code ends the
// goroutine by runtime.Goexit, another one continues with the message that is left; exit is its
// error.
func (w *worker) run(exit error) {
	defer func() {
		if w.handling {
			w.p.queue.exited(w)
			go w.run(handler.NewPanicError(guard.ErrGoexit)) // the stack tells whose
		}
	}()
	if w.handling {
		w.settle(w.message(), w.p.cfg.Rescue(w.message(), exit))
	}
	for w.p.queue.take(w) {
		if w.turn == nil {
			w.handleTimed(w.message())
		} else {
			w.handle(w.message())
		}
	}
}

func (w *worker) message() *handler.Delivery { return &w.current[0] }

// handleTimed is handle for a worker that is no read loop. It reads the clock once a message, or twice after
// sleep.
func (w *worker) handleTimed(m *handler.Delivery) {
	if w.since.IsZero() { // otherwise this message has followed the one before at once
		w.since = time.Now()
	}
	w.read = nil
	w.handle(m)
	now := time.Now()
	w.took, w.since = now.Sub(w.since), now
}

// handle passes a message to the chain, unless there is no time for that, or too much.
func (w *worker) handle(m *handler.Delivery) {
	w.disposition, w.success = handler.Pending, false
	switch {
	case w.inTime(m):
		if m.Scheduled() { // rarely
			if wait, early := w.p.comesEarly(m); early {
				w.p.postpone(m, wait)
				return
			}
		}
		w.handling = true
		w.settle(m, w.p.cfg.Process(m))
	case Interrupted(m):
		w.p.Requeue(m, handler.Interrupted, 0)
	default: // with no time left a run could only fail
		w.p.Requeue(m, handler.Requeue, 0)
	}
}

// readTime is longer than a read loop handles messages: see relieveStalled.
const readTime = 2 * time.Second

// inTime reports whether the context of a message has not ended. The clock is not read for messages of one
// read, unless their time ends soon.
func (w *worker) inTime(m *handler.Delivery) bool {
	if r := m.Read(); r != w.read {
		w.read, w.ctx, w.lasts = r, r.Source.Context(), r.Lasts(w.since.Sub(r.Source.Terms().Start)+readTime)
	}
	return w.lasts && w.ctx.Err() == nil && !m.HasOwnContext() || m.Context().Err() == nil
}

// settle ends a message after the chain, unless the drain has given it back: whoever claims a
// message first answers it.
func (w *worker) settle(m *handler.Delivery, out handler.Outcome) {
	w.handling = false
	if out.Disposition != handler.Finish {
		w.disposition = w.answer(m, out)
		return
	}
	if w.success = m.End(); w.success {
		w.disposition = w.finish(w.current)
	} else {
		w.disposition = unanswered(m)
		m.Release()
	}
	if w.p.cfg.Watching.Load() {
		w.p.cfg.Succeeded()
	}
}

// answer sends anything but an ordinary FIN.
func (w *worker) answer(m *handler.Delivery, out handler.Outcome) handler.Disposition {
	c, d, sent := m.Source().(*conn.Conn), out.Disposition, true
	switch d {
	case handler.Drop, handler.DeadLetter, handler.Skip:
		sent = c.GiveUp(m)
	case handler.Requeue, handler.Interrupted:
		sent = c.Requeue(m, out.Delay)
	default:
		c.Forget(m)
	}
	if !sent {
		d = unanswered(m)
	}
	m.Release()
	return d
}

// finish sends the FINs of messages of one read.
func (w *worker) finish(msgs []handler.Delivery) (d handler.Disposition) {
	if d = handler.Finish; !msgs[0].Source().(*conn.Conn).FinishEnded(msgs) {
		d = unanswered(&msgs[0])
	}
	handler.ReleaseAll(msgs)
	return d
}
