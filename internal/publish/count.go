package publish

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
)

// counters count messages by result.
type counters struct {
	confirmed, rejected, notSent, unconfirmed atomic.Uint64
	skipped                                   atomic.Uint64 // published without their headers
}

// count adds n messages to the counter of their result.
func (c *counters) count(n int, err error) {
	if err == nil {
		c.confirmed.Add(uint64(n))
		return
	}
	if e, ok := errors.AsType[*conn.PublishError](err); ok {
		c.confirmed.Add(uint64(e.Confirmed))
		n -= e.Confirmed
	}
	counter := &c.notSent
	switch {
	case errors.Is(err, conn.ErrRejected):
		counter = &c.rejected
	case errors.Is(err, conn.ErrUnconfirmed):
		counter = &c.unconfirmed
	}
	counter.Add(uint64(n))
}

// Reject counts n messages that cannot be published, and returns their error.
func (c *counters) Reject(n int, topic string, why error) error {
	c.rejected.Add(uint64(n))
	return &conn.PublishError{Kind: conn.ErrRejected, Topic: topic, Err: why}
}

// RejectHeaders is a [handler.SendMiddleware] that makes an ErrRejected of a header that cannot be
// sent.
func (r *Router) RejectHeaders(next handler.Send) handler.Send {
	return func(ctx context.Context, out *handler.Outgoing) error {
		err := next(ctx, out)
		if _, ok := errors.AsType[*envelope.HeaderError](err); ok {
			if _, ok := errors.AsType[*conn.PublishError](err); !ok {
				return r.Reject(len(out.Messages), out.Topic, err)
			}
		}
		return err
	}
}

// Skipped counts the messages that were published without their headers.
func (c *counters) Skipped() uint64 { return c.skipped.Load() }

// Stats returns the router's part of a publisher's statistics.
func (r *Router) Stats() observe.PublisherStats {
	return observe.PublisherStats{
		InFlight:  r.Unanswered(),
		Confirmed: r.confirmed.Load(), Rejected: r.rejected.Load(), NotSent: r.notSent.Load(), Unconfirmed: r.unconfirmed.Load(),
		EnvelopesSkipped: r.skipped.Load(),
		Connections:      r.Set.Stats(),
	}
}
