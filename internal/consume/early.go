package consume

import (
	"context"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// early returns how long a message must still wait that came before its time: nsqd keeps a message
// for max-req-timeout at most, and may forget that it should. Such a delivery is given back, which
// counts as no attempt.
func (c *Consumer) early(d *handler.Delivery) (wait time.Duration, ok bool) {
	if wait, ok = c.wait(d); ok {
		c.uncounted.early(d)
	}
	return wait, ok
}

// wait returns how long a message must still wait; ok is false if its time has come.
func (c *Consumer) wait(d *handler.Delivery) (wait time.Duration, ok bool) {
	if c.cfg.AnyTime || !d.Scheduled() {
		return 0, false
	}
	s, err := d.Schedule()
	if err != nil || s.NotBefore.IsZero() { // readable reports the error
		return 0, false
	}
	wait = min(time.Until(s.NotBefore), c.cfg.MaxRequeueDelay)
	return wait, wait > 0
}

// postpone sets the outcome of a message that comes to Process before its time, and reports whether it
// does.
func (c *Consumer) postpone(m *handler.Message) bool {
	d := (*handler.Delivery)(m)
	wait, early := c.wait(d)
	if early {
		d.SetOutcome(handler.Outcome{Disposition: handler.Requeue, Delay: wait})
	}
	return early
}

// readable is the middleware that fails a message with times that cannot be read.
func (c *Consumer) readable(next handler.Raw) handler.Raw {
	if c.cfg.AnyTime {
		return next
	}
	return func(ctx context.Context, m *handler.Message) error {
		if (*handler.Delivery)(m).Scheduled() { // rarely
			if err := unreadable(m); err != nil {
				return err
			}
		}
		return next(ctx, m)
	}
}

// unreadable returns an error for a message with times that cannot be read, as if its payload did not
// decode.
func unreadable(m *handler.Message) error {
	if _, err := (*handler.Delivery)(m).Schedule(); err != nil {
		return &handler.DecodeError{Err: err}
	}
	return nil
}

// due is when a message may first be handled: when nsqd accepted it, or later.
func due(d *handler.Delivery) time.Time {
	t := d.Timestamp()
	if s, err := d.Schedule(); err == nil && s.NotBefore.After(t) {
		return s.NotBefore
	}
	return t
}

// older reports whether a message could be handled more than age ago.
func older(d *handler.Delivery, age time.Duration) bool {
	return d.Timestamp().UnixNano() > 0 && time.Since(due(d)) > age
}

// hops is how many deliveries it takes at most until a message is due, if each ends with a REQ of
// the longest delay, and nsqd has forgotten the delay of the publish.
func (c *Consumer) hops(d *handler.Delivery) int {
	if !d.Scheduled() || d.Timestamp().UnixNano() <= 0 {
		return 0
	}
	wait, limit := due(d).Sub(d.Timestamp()), c.cfg.MaxRequeueDelay
	n := int(wait / limit)
	if wait%limit > 0 {
		n++
	}
	return n
}
