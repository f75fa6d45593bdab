package publish

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/nsqx/nsqx/conn"
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

// errNotNext is the error of a publish that user code has called a success, though nsqd did not
// confirm it.
var errNotNext = errors.New("nsqx: the telemetry middleware has not called next, or not with the values of its ctx")

// Confirming is a [handler.SendMiddleware] that stands outside of user code. It returns nil if, and
// only if, nsqd has confirmed, whatever user code makes of that: an error, a panic, runtime.Goexit.
// Otherwise the message would be published again and again, or be lost. late is called with an error
// after nsqd has confirmed.
func Confirming(late func(ctx context.Context, err error)) handler.SendMiddleware {
	return func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			confirmed := new(atomic.Bool)
			_, err := guard.IsolateValue(func() (struct{}, error) {
				return struct{}{}, next(context.WithValue(ctx, confirmedKey{}, confirmed), out)
			})
			switch {
			case err == nil && !confirmed.Load():
				return &conn.PublishError{Kind: conn.ErrUnconfirmed, Topic: out.Topic, Err: errNotNext}
			case err != nil && confirmed.Load():
				late(ctx, err)
				return nil
			}
			return err
		}
	}
}
