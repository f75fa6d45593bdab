package consume

import (
	"context"

	"github.com/nsqx/nsqx/handler"
)

// DeadLetterFunc is WithDeadLetterFunc: the user's function keeps the message.
type DeadLetterFunc func(ctx context.Context, m *handler.Message, cause error) error

// Configured returns true.
func (DeadLetterFunc) Configured() bool { return true }

// Keep calls the function, for as long as nsqd's max-msg-timeout allows.
func (f DeadLetterFunc) Keep(ctx context.Context, _ handler.Send, d *handler.Delivery, cause error) (handler.Disposition, error) {
	defer keepTouched(d)()
	return handler.DeadLetter, f(ctx, d.Message(), cause)
}
