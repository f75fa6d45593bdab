package middleware

import (
	"context"

	"github.com/nsqx/nsqx/handler"
)

// AutoTouch lets a handler take longer than the message timeout: while it runs,
// nsqd is told to wait on (TOUCH), whenever half the message timeout has gone by
// since the message was received or last touched. It must be within the limits
// of nsqd: max-msg-timeout (15 minutes by default) after delivery there is no
// more time to be had, and the handler's context ends shortly before, with the
// cause [handler.ErrMessageTimeout].
//
// The context ends with the same cause, and earlier, if nsqd refuses a TOUCH,
// because it came too late or the channel was emptied. What the handler then
// answers counts only if it is a success.
//
// A handler that hangs is touched, too: its message waits for max-msg-timeout
// before nsqd gives it to somebody else. [Timeout] is a remedy for handlers that
// heed their context. Deadlines that AutoTouch moves are those of the message,
// not those of a Timeout.
//
// All messages of a connection share one timer. Messages that come from
// something else than a connection, as in a test, are touched only if their
// source is a [handler.Toucher].
func AutoTouch() handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			d := (*handler.Delivery)(m)
			if src, ok := d.Source().(handler.Toucher); ok {
				defer src.KeepTouched(d)()
			}
			return next(ctx, m)
		}
	}
}
