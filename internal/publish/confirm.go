package publish

import (
	"context"
	"sync/atomic"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
)

// confirmedKey is the key of an *atomic.Bool that NoteConfirmed sets.
type confirmedKey struct{}

// NoteConfirmed is a [handler.SendMiddleware] for Confirming. It stands inside of all user code.
func NoteConfirmed(next handler.Send) handler.Send {
	return func(ctx context.Context, out *handler.Outgoing) error {
		err := next(ctx, out)
		if confirmed, ok := ctx.Value(confirmedKey{}).(*atomic.Bool); ok && err == nil {
			confirmed.Store(true)
		}
		return err
	}
}

// Confirming is a [handler.SendMiddleware] that stands outside of user code. It returns nil if nsqd
// has confirmed, whatever user code makes of that: an error, a panic, runtime.Goexit. Otherwise the
// message would be published again and again. late is called with such an error.
func Confirming(late func(ctx context.Context, err error)) handler.SendMiddleware {
	return func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			confirmed := new(atomic.Bool)
			_, err := guard.IsolateValue(func() (struct{}, error) {
				return struct{}{}, next(context.WithValue(ctx, confirmedKey{}, confirmed), out)
			})
			if err != nil && confirmed.Load() {
				late(ctx, err)
				return nil
			}
			return err
		}
	}
}
