package nsqx

import (
	"errors"
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

	mu    sync.Mutex
	all   []*worker
	alive int
	done  chan struct{} // closed when the last worker has ended

	skipped [handler.Lost + 1]atomic.Uint64 // messages that no worker took on, by disposition
}

// worker handles one message at a time.
type worker struct {
	e       *engine
	current atomic.Pointer[handler.Message] // in the chain
	settled [handler.Lost + 1]atomic.Uint64 // by disposition
	_       [128]byte                       // so that workers share no cache lines
}

func (ws *workers) init(e *engine) {
	ws.e = e
	ws.done = make(chan struct{})
}

func (ws *workers) start(n int) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.alive += n
	for range n {
		w := &worker{e: ws.e}
		ws.all = append(ws.all, w)
		go w.run(nil)
	}
}

// ended is called by each worker, last of all.
func (ws *workers) ended() {
	ws.mu.Lock()
	ws.alive--
	last := ws.alive == 0
	ws.mu.Unlock()
	if last {
		close(ws.done)
	}
}

// running returns the messages that are being handled.
func (ws *workers) running() []*handler.Message {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var running []*handler.Message
	for _, w := range ws.all {
		if m := w.current.Load(); m != nil {
			running = append(running, m)
		}
	}
	return running
}

// skip gives up a message that no handler has seen, and that is too late for
// one. If nsqd still waits for an answer, it may deliver it again at once.
func (ws *workers) skip(m *handler.Message) { ws.giveBack(m, handler.Requeue, 0) }

// giveBack requeues a message that no handler has seen. It is counted as d if it
// can be.
func (ws *workers) giveBack(m *handler.Message, d handler.Disposition, delay time.Duration) (sent bool) {
	if sent = m.Source().(*conn.Conn).Requeue(m, delay); !sent {
		d = unanswered(m)
	}
	m.Release()
	ws.skipped[d].Add(1)
	return sent
}

// unanswered says what became of a message whose answer was not sent.
func unanswered(m *handler.Message) handler.Disposition {
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

// run handles messages until the queue is closed. If user code ends the
// goroutine with runtime.Goexit, another one goes on with the message that is
// left; exit then says so.
func (w *worker) run(exit error) {
	defer func() {
		if w.current.Load() == nil {
			w.e.workers.ended()
			return
		}
		go w.run(handler.NewPanicError(errGoexit)) // its stack tells whose
	}()
	if m := w.current.Load(); m != nil {
		w.answer(m, w.e.rescue(m.Context(), m, exit))
	}
	for {
		m := w.e.queue.take(&w.current)
		switch {
		case m == nil:
			return
		case m.Context().Err() == nil:
			w.answer(m, w.e.process(m.Context(), m))
		case interrupted(m):
			w.e.workers.giveBack(m, handler.Interrupted, 0)
			w.current.Store(nil)
		default: // a run with no time left could only fail
			w.e.workers.skip(m)
			w.current.Store(nil)
		}
	}
}

// answer tells nsqd. Unless the drain has given the message back already, that
// is: whoever claims a message first answers it.
func (w *worker) answer(m *handler.Message, out handler.Outcome) {
	c, d, sent := m.Source().(*conn.Conn), out.Disposition, true
	switch d {
	case handler.Finish:
		sent = c.Finish(m)
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
	w.current.Store(nil) // not before it is answered: the drain must find it
	m.Release()
	w.settled[d].Add(1)
}
