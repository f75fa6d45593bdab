package conn

import (
	"context"
	"errors"
	"net"

	"github.com/nsqx/nsqx/internal/wire"
)

// waiter gets the answer to one publish. It has room for it, so that nobody
// waits for a caller who has gone.
type waiter chan error

// Publish sends one message to a topic (PUB) and waits until nsqd has confirmed
// it. It works on connections without a subscription only: on a subscribed one
// an unasked error could pass for the answer.
//
// nil means that nsqd has the message. An error that is [ErrUnconfirmed] means
// that it may have it; any other, that it does not. When ctx ends, Publish
// returns at once; the answer that is still to come goes to nobody.
func (c *Conn) Publish(ctx context.Context, topic string, body []byte) error {
	if c.sub != nil {
		return c.fault(errors.New("nsqx: cannot publish on a subscribed connection"))
	}
	if err := errors.Join(wire.CheckTopic(topic), wire.CheckBody(body, c.cfg.MaxMessageSize)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	w := make(waiter, 1)
	if !c.out.publish(topic, body, w) {
		return c.fault(net.ErrClosed)
	}
	select {
	case err := <-w:
		return err
	case <-ctx.Done():
		return errors.Join(ErrUnconfirmed, context.Cause(ctx))
	}
}

func (o *outbox) publish(topic string, body []byte, w waiter) bool {
	o.mu.Lock()
	if o.dead.Load() || o.half {
		o.mu.Unlock()
		return false
	}
	o.buf = wire.AppendPUB(o.buf, topic, body)
	o.waiters = append(o.waiters, w)
	o.unlock()
	return true
}

// answer gives the oldest publish its answer. It returns false if there is none.
func (o *outbox) answer(err error) bool {
	o.mu.Lock()
	if len(o.waiters) == 0 {
		o.mu.Unlock()
		return false
	}
	w := o.waiters[0]
	o.waiters = o.waiters[1:]
	o.mu.Unlock()
	w <- err
	return true
}
