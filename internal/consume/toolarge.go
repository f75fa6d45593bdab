package consume

import (
	"context"
	"errors"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// errNoBody is why a message that was not read is not published as a dead letter.
var errNoBody = errors.New("nsqx: a dead letter cannot carry a body that was not read, so the message stays with nsqd")

// failedUnread is the end of outcome for a message without its body. It says nothing of the handlers,
// so no breaker hears of it. It is given up only if the user has said what becomes of such messages.
func (c *Consumer) failedUnread(ctx context.Context, d *handler.Delivery, verdict retry.Verdict, err error) handler.Outcome {
	delay := verdict.Delay
	switch verdict.Action {
	case retry.Discard:
		return handler.Outcome{Disposition: handler.Drop, Err: err}
	case retry.Again:
		c.uncounted.add(d)
		return c.requeue(d, delay, err)
	case retry.GiveUp:
		delay = -1
	case retry.Backoff:
		if delay = c.cfg.Retry.Delay(deliveries(d), err); delay < 0 {
			delay = c.cfg.Retry.Delay(c.attempts(d), err)
		}
	}
	if (delay < 0 || c.attemptsReach(d, c.cfg.MaxAttempts) || c.tooOld(d)) && c.cfg.GiveUp.Configured() {
		return c.giveUp(ctx, d, err)
	}
	if delay < 0 {
		delay = fallbackDelay
	}
	return c.requeue(d, delay, err)
}
