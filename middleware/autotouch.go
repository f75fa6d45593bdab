package middleware

import (
	"context"

	"github.com/nsqx/nsqx/handler"
)

// AutoTouch lets a handler take longer than the message timeout. While the handler runs, the
// message is touched (TOUCH) each time half the message timeout has passed since it was received
// or last touched. nsqd's max-msg-timeout (15 minutes by default) after delivery is the limit:
// shortly before, the handler's context ends with the cause [handler.ErrMessageTimeout].
//
// The context ends earlier, with the same cause, if nsqd refuses a TOUCH because it came too late
// or the channel was emptied. From then on only a success of the handler counts.
//
// A handler that hangs is touched, too: nsqd waits for max-msg-timeout before it delivers the
// message to another consumer. Use [Timeout] to end handlers that respect their context earlier.
// AutoTouch moves the deadline of the message, not that of a Timeout.
//
// All messages of a connection share one timer. A message from another source, as in a test, is
// touched only if the source is a [handler.Toucher].
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
