package middleware

import (
	"context"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// ErrTimeout is the cause ([context.Cause]) for which a context ends that
// [Timeout] has limited. It is also [context.DeadlineExceeded] for [errors.Is].
var ErrTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string        { return "nsqx: handler timeout" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Timeout gives a handler d for one message: its context ends then, with the
// cause [ErrTimeout]. If the message's own context ends earlier, its cause
// holds. TOUCH moves the message timeout, but not this one.
//
// A handler that does not heed its context goes on, and its message with it:
// what it answers in the end is the answer.
//
// d <= 0 is no limit: the handler is left as it is.
func Timeout(d time.Duration) handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		if d <= 0 {
			return next
		}
		return func(ctx context.Context, m *handler.Message) error {
			ctx, cancel := context.WithTimeoutCause(ctx, d, ErrTimeout)
			defer cancel()
			return next(ctx, m)
		}
	}
}
