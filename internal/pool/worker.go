package pool

import (
	"sync/atomic"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
)

// worker handles one message at a time.
type worker struct {
	batch
	p        *Pool
	handling bool                            // the current message has not returned from the chain
	group    *groupWorker                    // that this is a part of; nil if it handles one message at a time
	settled  [handler.Lost + 1]atomic.Uint64 // by disposition, but for what the batch counts
	acked    [handler.Lost + 1]atomic.Uint64 // what the batch counts, once its FINs are sent
	_        [128]byte                       // so that workers share no cache lines
}

// run handles messages until the queue has none for this worker any more. If user code ends the
// goroutine by runtime.Goexit, another one continues with the message that is left; exit is its
// error.
func (w *worker) run(exit error) {
	defer func() {
		if !w.handling {
			w.p.ended(w)
			return
		}
		go w.run(handler.NewPanicError(guard.ErrGoexit)) // the stack tells whose
	}()
	if w.handling {
		m := w.current()
		w.settle(m, w.p.cfg.Rescue(m, exit))
	}
	for {
		m := w.p.queue.take(&w.batch)
		switch {
		case m == nil:
			return
		case w.inTime(m):
			if m.Scheduled() { // rarely
				if wait, early := w.p.comesEarly(m); early {
					w.detachCurrent()
					w.p.postpone(m, wait)
					continue
				}
			}
			w.handling = true
			w.settle(m, w.p.cfg.Process(m))
		case Interrupted(m):
			w.detachCurrent()
			w.p.Requeue(m, handler.Interrupted, 0)
		default: // with no time left a run could only fail
			w.detachCurrent()
			w.p.Requeue(m, handler.Requeue, 0)
		}
	}
}

// settle ends a message after the chain, unless the drain has given it back: whoever claims a
// message first answers it. A FIN is left to the batch.
func (w *worker) settle(m *handler.Delivery, out handler.Outcome) {
	w.handling = false
	if out.Disposition != handler.Finish {
		w.detachCurrent()
		w.answer(m, out)
		return
	}
	if !m.End() {
		w.detachCurrent()
		w.settled[unanswered(m)].Add(1)
		m.Release()
	}
	if w.p.cfg.Watching.Load() {
		w.flushAcks() // before there is room for more
		w.p.cfg.Succeeded()
	}
}

// answer sends anything but an ordinary FIN.
func (w *worker) answer(m *handler.Delivery, out handler.Outcome) {
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
	w.settled[d].Add(1)
	m.Release()
}

// finish sends the FINs of messages of one connection, for the batch, and not always in the
// worker's goroutine.
func (w *worker) finish(msgs []handler.Delivery) {
	if msgs[0].Source().(*conn.Conn).FinishEnded(msgs) {
		w.acked[handler.Finish].Add(uint64(len(msgs)))
	} else {
		for i := range msgs {
			w.acked[unanswered(&msgs[i])].Add(1)
		}
	}
	handler.ReleaseAll(msgs)
}

// results returns how many messages the worker has settled. The caller holds queue.mu.
func (w *worker) results() (n uint64) {
	for d := range w.settled {
		n += w.settled[d].Load()
	}
	return n + w.finished()
}
