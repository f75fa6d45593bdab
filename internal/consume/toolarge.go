package consume

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// errNoBody is why a message that was not read is not published as a dead letter.
var errNoBody = errors.New("nsqx: a dead letter cannot carry a body that was not read, so the message stays with nsqd")

// settleUnread settles a message without its body (see conn.SizeError). No handler sees it.
func (c *Consumer) settleUnread(ctx context.Context, d *handler.Delivery, err error) {
	d.SetOutcome(c.decide(ctx, d, err))
	c.unread.count.Add(1)
	if c.unread.due() {
		c.logUnread(ctx, d)
	}
}

// failedUnread is the end of outcome for a message without its body. It says nothing of the handlers,
// so no breaker hears of it. It is given up only if the user has said what becomes of such messages.
func (c *Consumer) failedUnread(ctx context.Context, d *handler.Delivery, verdict retry.Verdict, err error) handler.Outcome {
	delay := verdict.Delay
	switch verdict.Action {
	case retry.Discard:
		return handler.Outcome{Disposition: handler.Drop, Err: err}
	case retry.Again:
		c.uncounted.add(d)
		return c.requeue(ctx, d, delay, err)
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
	return c.requeue(ctx, d, delay, err)
}

// unread is what is said of messages without their bodies: once a minute.
type unread struct {
	saidAt atomic.Int64 // in seconds since 1970
	count  atomic.Uint64
}

// due reports whether to say something.
func (u *unread) due() bool {
	now, last := time.Now().Unix(), u.saidAt.Load()
	return now-last >= 60 && u.saidAt.CompareAndSwap(last, now)
}

// logUnread names one of the messages that came since the last record.
func (c *Consumer) logUnread(ctx context.Context, d *handler.Delivery) {
	out, level := d.Outcome(), slog.LevelWarn
	if errors.Is(out.Err, errNoBody) {
		level = slog.LevelError
	}
	c.logger.LogAttrs(ctx, level, "nsqx: message too large, no handler sees it; this is said once a minute",
		slog.String("nsqd", d.NSQD()), slog.String("msg.id", d.ID.String()), slog.Int("msg.attempts", int(d.Attempts)),
		slog.String("disposition", out.Disposition.String()), slog.Float64("delay_seconds", out.Delay.Seconds()),
		slog.Uint64("messages", c.unread.count.Swap(0)), slog.Any("error", out.Err))
}
