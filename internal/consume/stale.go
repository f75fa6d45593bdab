package consume

import (
	"context"
	"fmt"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// staleError is why a message is given up that comes too late for its handler.
type staleError struct {
	since time.Time
	older time.Duration // of WithSkipOlder; 0 if the producer has set the end
}

func (e *staleError) Error() string {
	if e.older > 0 {
		return fmt.Sprintf("nsqx: message skipped by WithSkipOlder: it is older than %v since %s", e.older, e.since.UTC().Format(time.RFC3339))
	}
	return "nsqx: message skipped: it has expired at " + e.since.UTC().Format(time.RFC3339)
}

// Is makes the error a [handler.ErrStale].
func (e *staleError) Is(target error) bool { return target == handler.ErrStale }

// tooLate returns a *staleError if a message is not to be handled any more.
func (c *Consumer) tooLate(d *handler.Delivery) error {
	if !d.Scheduled() && c.cfg.SkipOlder == 0 || c.cfg.AnyTime { // nearly always
		return nil
	}
	if s, err := d.Schedule(); err == nil && !s.Expires.IsZero() && !time.Now().Before(s.Expires) {
		return &staleError{since: s.Expires}
	}
	if limit := c.cfg.SkipOlder; limit > 0 && older(d, limit) {
		return &staleError{since: due(d).Add(limit), older: limit}
	}
	return nil
}

// skip ends a message that is stale. It says nothing of what handlers need, so control is not told.
func (c *Consumer) skip(ctx context.Context, d *handler.Delivery, err error) handler.Outcome {
	out := handler.Outcome{Disposition: handler.Drop, Err: err}
	if c.cfg.GiveUp.Configured() {
		out = c.giveUp(ctx, d, err)
	}
	if out.Disposition == handler.Drop || out.Disposition == handler.DeadLetter {
		c.stale.Add(1)
	}
	return out
}
