package nsqx

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// errGoexit is the value of the PanicError of a handler that called
// runtime.Goexit, as the FailNow of a test does.
var errGoexit = errors.New("nsqx: handler called runtime.Goexit")

// workers are the goroutines that handle messages.
type workers struct {
	e *engine

	mu      sync.Mutex // before queue.mu
	all     []*worker  // that have not ended
	started int
	settled tally         // by those that have
	done    chan struct{} // closed when the last worker has ended

	skipped [handler.Lost + 1]atomic.Uint64 // messages that no worker took on, by disposition
}

// worker handles one message at a time.
type worker struct {
	pocket
	e        *engine
	lane     int                             // of the connections' outboxes
	handling bool                            // the current message has not come back from the chain
	settled  [handler.Lost + 1]atomic.Uint64 // by disposition, but for those that the pocket counts
	told     [handler.Lost + 1]atomic.Uint64 // those that the pocket counts, when nsqd is told of them
	warned   *handler.Delivery               // overdue has told of it; guarded by workers.mu
	_        [128]byte                       // so that workers share no cache lines
}

// tally counts messages by disposition.
type tally [handler.Lost + 1]uint64

func (ws *workers) init(e *engine) {
	ws.e = e
	ws.done = make(chan struct{})
}

// setConcurrency makes n, at least 1, the number of workers. Those that are too
// many end when they come for the next message. Once the queue is closed it does
// nothing.
func (ws *workers) setConcurrency(n int) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for range ws.e.queue.resize(n) {
		w := &worker{e: ws.e, lane: ws.started}
		w.pocket.answer = w.finish
		ws.started++
		ws.all = append(ws.all, w)
		ws.e.queue.join(&w.pocket)
		go w.run(nil)
	}
}

// ended is called by each worker, last of all.
func (ws *workers) ended(w *worker) {
	ws.mu.Lock()
	ws.settled.add(w)
	i := slices.Index(ws.all, w)
	ws.all = slices.Delete(ws.all, i, i+1)
	last := len(ws.all) == 0 // the queue is closed
	ws.mu.Unlock()
	if last {
		close(ws.done)
	}
}

// add adds what w has settled.
func (t *tally) add(w *worker) {
	for d := range t {
		t[d] += w.settled[d].Load() + w.told[d].Load()
	}
}

// results is workers.results, of one. The caller holds queue.mu.
func (w *worker) results() (n uint64) {
	for d := range w.settled {
		n += w.settled[d].Load()
	}
	return n + w.finished()
}

// tally adds up what workers have settled since the start.
func (ws *workers) tally() tally {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	t := ws.settled
	for _, w := range ws.all {
		t.add(w)
	}
	return t
}

// counts adds up what became of all messages.
func (ws *workers) counts() tally {
	t := ws.tally()
	for d := range t {
		t[d] += ws.skipped[d].Load()
	}
	return t
}

// results returns how many messages workers have settled since the start, those
// included that nsqd is yet to be told of.
func (ws *workers) results() (n uint64) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, settled := range ws.settled {
		n += settled
	}
	ws.e.queue.mu.Lock()
	defer ws.e.queue.mu.Unlock()
	for _, w := range ws.all {
		n += w.results()
	}
	return n
}

// busy returns how many workers handle a message.
func (ws *workers) busy() int {
	return len(ws.running())
}

// running returns the messages that are being handled.
func (ws *workers) running() []*handler.Delivery {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var running []*handler.Delivery
	for _, w := range ws.all {
		if m := ws.e.queue.current(&w.pocket); m != nil {
			running = append(running, m)
		}
	}
	return running
}

// skip gives up a message that no handler has seen, and that is too late for
// one. If nsqd still waits for an answer, it may deliver it again at once.
func (ws *workers) skip(m *handler.Delivery) { ws.giveBack(m, handler.Requeue, 0) }

// giveBack requeues a message that no handler has seen. It is counted as d if it
// can be.
func (ws *workers) giveBack(m *handler.Delivery, d handler.Disposition, delay time.Duration) (sent bool) {
	if sent = m.Source().(*conn.Conn).Requeue(m, min(delay, ws.e.cfg.maxRequeueDelay)); !sent {
		d = unanswered(m)
	}
	m.Release()
	ws.skipped[d].Add(1)
	return sent
}

// unanswered says what became of a message whose answer was not sent.
func unanswered(m *handler.Delivery) handler.Disposition {
	switch {
	case lost(m):
		return handler.Lost
	case !m.Answerable():
		return handler.Expired
	}
	return handler.Interrupted // the drain has given it back before
}

// end waits for the workers to end, for d at most.
func (ws *workers) end(d time.Duration) bool { return waitFor(ws.done, d) }

// run handles messages until the queue has none for this worker any more. If user
// code ends the goroutine with runtime.Goexit, another one goes on with the message
// that is left; exit then says so.
func (w *worker) run(exit error) {
	defer func() {
		if !w.handling {
			w.e.workers.ended(w)
			return
		}
		go w.run(handler.NewPanicError(errGoexit)) // its stack tells whose
	}()
	if w.handling {
		m := w.current()
		w.settle(m, w.e.rescue(m.Context(), m, exit))
	}
	for {
		m := w.e.queue.take(&w.pocket)
		switch {
		case m == nil:
			return
		case w.inTime(m):
			w.handling = true
			w.settle(m, w.e.process(m.Context(), m))
		case interrupted(m):
			w.pass()
			w.e.workers.giveBack(m, handler.Interrupted, 0)
		default: // a run with no time left could only fail
			w.pass()
			w.e.workers.skip(m)
		}
	}
}

// settle ends a message that the chain is done with. Unless the drain has given it
// back already, that is: whoever claims a message first answers it. A FIN is left to
// the pocket.
func (w *worker) settle(m *handler.Delivery, out handler.Outcome) {
	w.handling = false
	if out.Disposition != handler.Finish {
		w.pass()
		w.answer(m, out)
		return
	}
	if !m.End() {
		w.pass()
		w.settled[unanswered(m)].Add(1)
		m.Release()
	}
	if w.e.control.watching.Load() {
		w.tell() // before there is room for more
		w.e.control.succeeded()
	}
}

// answer tells nsqd anything but an ordinary FIN.
func (w *worker) answer(m *handler.Delivery, out handler.Outcome) {
	c, d, sent := m.Source().(*conn.Conn), out.Disposition, true
	switch d {
	case handler.Drop, handler.DeadLetter:
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

// finish tells nsqd of messages that have ended well. The pocket calls it, not always from
// the worker's goroutine. They are of one span, and so of one connection.
func (w *worker) finish(msgs []handler.Delivery) {
	if msgs[0].Source().(*conn.Conn).FinishEnded(w.lane, msgs) {
		w.told[handler.Finish].Add(uint64(len(msgs)))
	} else {
		for i := range msgs {
			w.told[unanswered(&msgs[i])].Add(1)
		}
	}
	handler.ReleaseAll(msgs)
}
