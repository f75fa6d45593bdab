package main

import (
	"context"
	"fmt"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// limit returns a middleware that lets one message pass per interval; the others wait. Consumers
// that share the middleware share the limit. A waiting message occupies a handler of its consumer.
func limit(every time.Duration) handler.Middleware {
	var mu sync.Mutex
	var next time.Time // when the next message may pass
	turn := func() (wait time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if next.Before(now) {
			next = now
		}
		wait = next.Sub(now)
		next = next.Add(every)
		return wait
	}
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			select {
			case <-time.After(turn()):
				return next(ctx, m)
			case <-ctx.Done(): // the message timed out, or the service stops
				return context.Cause(ctx)
			}
		}
	}
}

// valid decorates handlers of any type with a Validate method. An invalid value is a permanent
// error, since a retry cannot cure it: the message becomes a dead letter.
func valid[T interface{ Validate() error }](next handler.Func[T]) handler.Func[T] {
	return func(ctx context.Context, v T) error {
		if err := v.Validate(); err != nil {
			return retry.Permanent(err)
		}
		return next(ctx, v)
	}
}

// stamp adds the header origin to all published messages.
func stamp(origin string) handler.SendMiddleware {
	return func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			if err := out.Headers.Set("origin", origin); err != nil {
				return err
			}
			return next(ctx, out)
		}
	}
}

// show prints the path of messages with the header "show" through a chain.
type show struct{ *log.Logger }

// trail is the path of one message. It is printed when it is complete.
type trail struct {
	depth int
	lines strings.Builder
}

type trailKey struct{} // key of a context value

func (s show) step(ctx context.Context, name string, next func(context.Context) error) error {
	if handler.FromContext(ctx).Header("show") == "" {
		return next(ctx)
	}
	t, inside := ctx.Value(trailKey{}).(*trail)
	if !inside {
		t = new(trail)
		ctx = context.WithValue(ctx, trailKey{}, t)
		defer func() { s.Print(strings.TrimPrefix(t.lines.String(), "\n  ")) }()
	}
	t.line("→ %s", name)
	t.depth++
	err := next(ctx)
	t.depth--
	t.line("← %s: %s", name, answer(err))
	return err
}

func (t *trail) line(format string, a ...any) {
	fmt.Fprintf(&t.lines, "\n  "+strings.Repeat("  ", t.depth)+format, a...)
}

func answer(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

// raw wraps a middleware and shows it.
func (s show) raw(name string, mw handler.Middleware) handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		next = mw(next)
		return func(ctx context.Context, m *handler.Message) error {
			return s.step(ctx, name, func(ctx context.Context) error { return next(ctx, m) })
		}
	}
}

// send wraps a middleware of publishes and shows it.
func (s show) send(name string, mw handler.SendMiddleware) handler.SendMiddleware {
	return func(next handler.Send) handler.Send {
		next = mw(next)
		return func(ctx context.Context, out *handler.Outgoing) error {
			return s.step(ctx, name, func(ctx context.Context) error { return next(ctx, out) })
		}
	}
}

// typed wraps a decorator, or the handler if decorate is nil, and shows it.
func typed[T any](s show, name string, decorate func(handler.Func[T]) handler.Func[T]) func(handler.Func[T]) handler.Func[T] {
	return func(next handler.Func[T]) handler.Func[T] {
		next = handler.Wrap(next, decorate)
		return func(ctx context.Context, v T) error {
			return s.step(ctx, name, func(ctx context.Context) error { return next(ctx, v) })
		}
	}
}
