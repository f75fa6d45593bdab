package middleware

import (
	"context"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// RecoverBatch is [Recover] for handlers of batches.
func RecoverBatch() handler.BatchMiddleware {
	return func(next handler.RawBatch) handler.RawBatch {
		return func(ctx context.Context, msgs []*handler.Message) (err error) {
			returned := false
			defer func() {
				if returned { // the usual case: recover is slow
					return
				}
				if p := recover(); p != nil {
					err = handler.NewPanicError(p)
				}
			}()
			err = next(ctx, msgs)
			returned = true
			return err
		}
	}
}

// TimeoutBatch is [Timeout] for handlers of batches: d is for the whole batch.
func TimeoutBatch(d time.Duration) handler.BatchMiddleware {
	return func(next handler.RawBatch) handler.RawBatch {
		if d <= 0 {
			return next
		}
		return func(ctx context.Context, msgs []*handler.Message) error {
			ctx, cancel := context.WithTimeoutCause(ctx, d, ErrTimeout)
			defer cancel()
			return next(ctx, msgs)
		}
	}
}
