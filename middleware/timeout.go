package middleware

import (
	"context"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// ErrTimeout is the cause ([context.Cause]) of a context that [Timeout] has ended. [errors.Is]
// reports it as [context.DeadlineExceeded].
var ErrTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string        { return "nsqx: handler timeout" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Timeout ends the handler's context d after the call, with the cause [ErrTimeout]. If the
// message's own context ends earlier, its cause holds. TOUCH does not move this timeout.
//
// A handler that ignores its context keeps running and keeps its message; its late result is the
// answer.
//
// If d <= 0 there is no limit.
func Timeout(d time.Duration) handler.Middleware {
	return func(next handler.Raw) handler.Raw { return limited(d, next) }
}

// TimeoutBatch is [Timeout] for handlers of batches: d is for the whole batch.
func TimeoutBatch(d time.Duration) handler.BatchMiddleware {
	return func(next handler.RawBatch) handler.RawBatch { return limited(d, next) }
}

// limited returns next with a time limit, unless d <= 0.
func limited[T any, F ~func(context.Context, T) error](d time.Duration, next F) F {
	if d <= 0 {
		return next
	}
	return func(ctx context.Context, v T) error {
		ctx, cancel := context.WithTimeoutCause(ctx, d, ErrTimeout)
		defer cancel()
		return next(ctx, v)
	}
}
