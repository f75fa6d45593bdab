package middleware_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/middleware"
)

// untilDone is a handler that returns when its context ends.
func untilDone(ctx context.Context, _ *handler.Message) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		d     time.Duration
		end   func(*source)
		after time.Duration
		cause error
	}{
		"shorter than the message's":   {5 * time.Second, nil, 5 * time.Second, middleware.ErrTimeout},
		"longer than the message's":    {2 * time.Minute, nil, 58 * time.Second, handler.ErrMessageTimeout},
		"longer than it can ever be":   {time.Hour, nil, 58 * time.Second, handler.ErrMessageTimeout},
		"none":                         {0, nil, 58 * time.Second, handler.ErrMessageTimeout},
		"negative":                     {-1, nil, 58 * time.Second, handler.ErrMessageTimeout},
		"the connection is lost first": {5 * time.Second, func(s *source) { s.end(handler.ErrConnLost) }, time.Second, handler.ErrConnLost},
		"the shutdown comes first":     {5 * time.Second, func(s *source) { s.end(handler.ErrShutdown) }, time.Second, handler.ErrShutdown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSource(t)
				if c.end != nil {
					time.AfterFunc(time.Second, func() { c.end(s) })
				}
				m := s.message("body")
				check.Want(t, "cause", run(m, middleware.Timeout(c.d), untilDone), c.cause)
				check.Want(t, "ended after", s.terms.Now(), c.after)
				(*handler.Delivery)(m).Release()
			})
		})
	}
}

func TestTimeoutIsADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newSource(t).message("body")
		err := run(m, middleware.Timeout(time.Second), func(ctx context.Context, _ *handler.Message) error {
			at, ok := ctx.Deadline()
			check.Want(t, "has a deadline", ok, true)
			check.Want(t, "Deadline", time.Until(at), time.Second)
			<-ctx.Done()
			return ctx.Err()
		})
		check.Want(t, "Err", err, context.DeadlineExceeded)
		check.Want(t, "the message's own context", m.Context().Err(), nil)
	})
	wantErr(t, "ErrTimeout", middleware.ErrTimeout, context.DeadlineExceeded)
	check.Want(t, "is the message timeout", errors.Is(middleware.ErrTimeout, handler.ErrMessageTimeout), false)
	var timeout interface{ Timeout() bool }
	if !errors.As(middleware.ErrTimeout, &timeout) || !timeout.Timeout() {
		t.Error("ErrTimeout is no timeout")
	}
}

// Timeout waits for a handler that ignores its context, and returns its result.
func TestTimeoutWaitsForTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		err := run(s.message("body"), middleware.Timeout(time.Second), func(ctx context.Context, _ *handler.Message) error {
			time.Sleep(10 * time.Second)
			check.Want(t, "cause", context.Cause(ctx), middleware.ErrTimeout)
			return nil
		})
		check.Want(t, "answer", err, nil)
		check.Want(t, "answered after", s.terms.Now(), 10*time.Second)
	})
}

func TestTouchDoesNotMoveTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		err := run(s.message("body"), middleware.Timeout(50*time.Second), func(ctx context.Context, m *handler.Message) error {
			time.Sleep(40 * time.Second)
			wantErr(t, "Touch", m.Touch(), nil)
			return untilDone(ctx, m)
		})
		check.Want(t, "cause", err, middleware.ErrTimeout)
		check.Want(t, "ended after", s.terms.Now(), 50*time.Second)
	})
}

// Each message has the full timeout. The context ends with the handler.
func TestTimeoutIsPerMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		var last context.Context
		h := middleware.Timeout(5 * time.Second)(func(ctx context.Context, m *handler.Message) error {
			last = ctx
			check.Want(t, "message", handler.FromContext(ctx), m)
			time.Sleep(4 * time.Second)
			return ctx.Err()
		})
		for range 3 {
			m := s.message("body")
			check.Want(t, "answer", h(m.Context(), m), nil)
			check.Want(t, "Err once it has returned", last.Err(), context.Canceled)
		}
	})
}
