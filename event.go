package nsqx

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

type eventKind uint8

const (
	eventConnect eventKind = iota
	eventDisconnect
	eventDialError
	eventRefused
)

type event struct {
	kind eventKind
	ConnEvent
}

// events carries what happens to connections to the goroutine that logs it and
// calls the hooks, which are user code and may be slow.
type events struct {
	logger  *slog.Logger
	hooks   *hooks
	queue   chan event
	dropped atomic.Uint64
	done    chan struct{} // closed when run has returned
}

func newEvents(logger *slog.Logger, hooks *hooks) *events {
	return &events{logger: logger, hooks: hooks, queue: make(chan event, 128), done: make(chan struct{})}
}

// post never waits.
func (e *events) post(kind eventKind, ev ConnEvent) {
	ev.Time = time.Now()
	select {
	case e.queue <- event{kind, ev}:
	default:
		e.dropped.Add(1)
	}
}

// run handles events until close is called, and those posted before that.
func (e *events) run() {
	defer close(e.done)
	for ev := range e.queue {
		call(e, []func(event){e.log}, ev)
		switch ev.kind {
		case eventConnect:
			call(e, e.hooks.connect, ev.ConnEvent)
		case eventDisconnect:
			call(e, e.hooks.disconnect, ev.ConnEvent)
		case eventDialError:
			call(e, e.hooks.dialError, ev.ConnEvent)
		case eventRefused:
			call(e, e.hooks.refused, ev.ConnEvent)
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

func (e *events) log(ev event) {
	attrs := []slog.Attr{slog.String("nsqd", ev.NSQD)}
	if ev.Err != nil {
		attrs = append(attrs, slog.Any("error", ev.Err))
	}
	if ev.Retry > 0 {
		attrs = append(attrs, slog.Duration("retry", ev.Retry.Round(time.Millisecond)))
	}
	level, text := slog.LevelInfo, "connected"
	switch ev.kind {
	case eventDisconnect:
		text = "disconnected"
		if ev.Err != nil {
			level, text = slog.LevelWarn, "connection lost"
		}
	case eventDialError:
		level, text = slog.LevelWarn, "cannot connect"
		var e *conn.Error
		if errors.As(ev.Err, &e) && e.Permanent() {
			level = slog.LevelError
		}
	case eventRefused:
		level, text = slog.LevelWarn, "nsqd refused a late answer"
	}
	e.logger.LogAttrs(context.Background(), level, "nsqx: "+text, attrs...)
}

// call calls hooks. One that panics must not take the process down.
func call[T any](e *events, hooks []func(T), arg T) {
	for _, h := range hooks {
		func() {
			defer func() {
				if p := recover(); p != nil {
					err := handler.NewPanicError(p)
					e.logger.Error("nsqx: hook panicked", "error", err, "stack", string(err.Stack))
				}
			}()
			h(arg)
		}()
	}
}
