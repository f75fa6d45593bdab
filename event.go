package nsqx

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/handler"
)

type eventKind uint8

const (
	eventConnect eventKind = iota
	eventDisconnect
	eventDialError
	eventRefused
	eventLookup
	eventBackoff
	eventOverdue
)

type event struct {
	kind eventKind
	ConnEvent

	message handler.ID    // of eventOverdue
	age     time.Duration // of eventOverdue

	source string        // of eventLookup
	found  int           // of eventLookup
	good   bool          // of eventLookup
	took   time.Duration // of eventLookup
}

// events carries what happens to connections to the goroutine that logs it and
// calls the hooks, which are user code and may be slow.
type events struct {
	logger  *slog.Logger
	hooks   *hooks
	queue   chan *event // a pointer, since it is nearly always empty
	dropped atomic.Uint64
	done    chan struct{} // closed when run has returned
}

func newEvents(logger *slog.Logger, hooks *hooks) *events {
	return &events{logger: logger, hooks: hooks, queue: make(chan *event, 128), done: make(chan struct{})}
}

// post never waits.
func (e *events) post(kind eventKind, ev event) {
	ev.kind, ev.Time = kind, time.Now()
	select {
	case e.queue <- &ev:
	default:
		e.dropped.Add(1)
	}
}

// run handles events until close is called, and those posted before that.
func (e *events) run() {
	defer close(e.done)
	for ev := range e.queue {
		call(e, []func(*event){e.log}, ev)
		switch ev.kind {
		case eventConnect:
			call(e, e.hooks.connect, ev.ConnEvent)
		case eventDisconnect:
			call(e, e.hooks.disconnect, ev.ConnEvent)
		case eventDialError:
			call(e, e.hooks.dialError, ev.ConnEvent)
		case eventRefused:
			call(e, e.hooks.refused, ev.ConnEvent)
		case eventLookup:
			call(e, e.hooks.lookup, LookupEvent{
				Source: ev.source, Topic: ev.Topic, Channel: ev.Channel, Time: ev.Time, Found: ev.found, Duration: ev.took, Err: ev.Err,
			})
		case eventBackoff:
			call(e, e.hooks.backoff, BackoffEvent{Topic: ev.Topic, Channel: ev.Channel, Time: ev.Time, Delay: ev.Retry})
		case eventOverdue:
			call(e, e.hooks.overdue, OverdueEvent{
				NSQD: ev.NSQD, Topic: ev.Topic, Channel: ev.Channel, Time: ev.Time, ID: ev.message, Age: ev.age,
			})
		}
	}
}

// end ends run, and waits for it until the deadline. Nobody may post any more.
func (e *events) end(deadline time.Time) bool {
	close(e.queue)
	return waitFor(e.done, time.Until(deadline))
}

// waitFor waits until done is closed, for d at most.
func waitFor(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// log says what has happened to an operator.
func (e *events) log(ev *event) {
	var attrs []slog.Attr
	add := func(shown bool, attr slog.Attr) {
		if shown {
			attrs = append(attrs, attr)
		}
	}
	add(ev.NSQD != "", slog.String("nsqd", ev.NSQD))
	add(ev.Err != nil, slog.Any("error", ev.Err))
	add(ev.Retry > 0, slog.Duration("retry", ev.Retry.Round(time.Millisecond)))
	level, text := slog.LevelInfo, "connected"
	switch ev.kind {
	case eventDisconnect:
		text = "disconnected"
		if ev.Err != nil {
			level, text = slog.LevelWarn, "connection lost"
		}
	case eventDialError:
		level, text = slog.LevelWarn, "cannot connect"
		if permanent(ev.Err) {
			level = slog.LevelError
		}
	case eventRefused:
		level, text = slog.LevelWarn, "nsqd refused a late answer"
	case eventLookup:
		level, text = slog.LevelDebug, "asked for nsqds"
		if ev.Err != nil && !errors.Is(ev.Err, ErrNoTopic) {
			level, text = slog.LevelWarn, "asking for nsqds failed"
			if ev.good {
				text = "asked for nsqds, not all can be used"
			}
		}
		add(true, slog.String("source", ev.source))
		add(true, slog.Int("found", ev.found))
	case eventBackoff:
		level, text = slog.LevelWarn, "nearly all messages fail: none is asked for until one may try"
	case eventOverdue:
		level, text = slog.LevelWarn, "handler outlives its message: nsqd has given it to someone else"
		add(true, slog.String("message", ev.message.String()))
		add(true, slog.Duration("age", ev.age.Round(time.Millisecond)))
	}
	e.logger.LogAttrs(context.Background(), level, "nsqx: "+text, attrs...)
}

// call calls hooks. One that panics must not take the process down, nor must a logger.
func call[T any](e *events, hooks []func(T), arg T) {
	for _, h := range hooks {
		func() {
			defer func() {
				if p := recover(); p != nil {
					defer func() { _ = recover() }() // of the logger: it may be what has panicked
					err := handler.NewPanicError(p)
					e.logger.Error("nsqx: hook panicked", "error", err, "stack", string(err.Stack))
				}
			}()
			h(arg)
		}()
	}
}
