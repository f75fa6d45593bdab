package consume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/pool"
	"github.com/nsqx/nsqx/retry"
)

// fallbackDelay is the delay of a requeue for which no policy has one: the policy panicked, or it
// said stop and the dead letter was not confirmed.
const fallbackDelay = 10 * time.Second

// errCrashes is why a message is given up that seems to kill the process.
var errCrashes = errors.New("nsqx: given up unhandled: the message was delivered far more often than MaxAttempts allows, and its handler has never had the time to end")

// errUnsettled is the error of a message whose chain neither reached settle nor failed.
var errUnsettled = errors.New("nsqx: the telemetry middleware has not called next")

// settle is the step of the chain that decides what nsqd is told, by the table of nsqx.Consumer. A
// dead letter is published before it returns. It panics only if next does.
func (c *Consumer) settle(next handler.Raw) handler.Raw {
	return func(ctx context.Context, m *handler.Message) error {
		d := (*handler.Delivery)(m)
		if limit := c.cfg.MaxAttempts; limit > 0 && attempts(d) > 2*limit+8 {
			d.SetOutcome(c.decide(ctx, d, errCrashes))
			return errCrashes
		}
		err := next(ctx, m)
		if err == nil && !pool.Lost(d) { // nearly always
			d.SetOutcome(handler.Outcome{Disposition: handler.Finish})
			return nil
		}
		d.SetOutcome(c.decide(ctx, d, err))
		return err
	}
}

// decide is outcome, but survives a panic of policy, mapping or dead letter.
func (c *Consumer) decide(ctx context.Context, d *handler.Delivery, err error) handler.Outcome {
	out, panicked := guard.Value(func() (handler.Outcome, error) { return c.outcome(ctx, d, err), nil })
	if panicked != nil {
		return c.settleFallback(ctx, d, panicked)
	}
	return out
}

// outcome goes down the table of nsqx.Consumer.
func (c *Consumer) outcome(ctx context.Context, d *handler.Delivery, err error) handler.Outcome {
	if out, ok := unanswerable(d, err); ok {
		return out
	}
	if err == errCrashes {
		c.logger.ErrorContext(ctx, "nsqx: crash guard: message given up unhandled", "message", d)
		return c.giveUp(ctx, d, err)
	}
	c.logPanic(ctx, d.Message(), err)
	verdict := retry.Of(c.classify(err))
	switch verdict.Action {
	case retry.Discard:
		c.control.SucceededProbe()
		return handler.Outcome{Disposition: handler.Drop, Err: err}
	case retry.Again:
		return c.requeue(ctx, d, verdict.Delay, err)
	case retry.GiveUp:
		return c.giveUp(ctx, d, err)
	}
	delay := verdict.Delay
	if verdict.Action == retry.Backoff {
		if delay = c.cfg.Retry.Delay(attempts(d), err); delay < 0 {
			return c.giveUp(ctx, d, err)
		}
	}
	_, undecodable := errors.AsType[*handler.DecodeError](err)
	if undecodable && c.cfg.GiveUp.Configured() || c.exhausted(d) {
		return c.giveUp(ctx, d, err)
	}
	c.control.Failed(d)
	return c.requeue(ctx, d, delay, err)
}

// unanswerable returns the outcome of a message that needs no decision; ok is false otherwise.
func unanswerable(d *handler.Delivery, err error) (out handler.Outcome, ok bool) {
	out.Err = err
	switch {
	case pool.Lost(d):
		out.Disposition = handler.Lost
	case err == nil:
		out.Disposition = handler.Finish
	case !d.Answerable():
		out.Disposition = handler.Expired
	case pool.Interrupted(d):
		out.Disposition = handler.Interrupted
	default:
		return out, false
	}
	return out, true
}

// settleFallback returns the outcome of a message on which settle has not decided, because user code
// panicked or did not call next. It is never a FIN.
func (c *Consumer) settleFallback(ctx context.Context, d *handler.Delivery, err error) handler.Outcome {
	if err == nil {
		err = errUnsettled
	}
	c.logger.ErrorContext(ctx, "nsqx: message not settled by its chain", "message", d, "error", err)
	c.logPanic(ctx, d.Message(), err)
	if out, ok := unanswerable(d, err); ok {
		return out
	}
	return handler.Outcome{Disposition: handler.Requeue, Delay: min(fallbackDelay, c.cfg.MaxRequeueDelay), Err: err}
}

// classify asks the user's mapping what an error means.
func (c *Consumer) classify(err error) error {
	if c.cfg.Errors != nil {
		if mapped := c.cfg.Errors(err); mapped != nil {
			return mapped
		}
	}
	return err
}

// exhausted reports whether a failed message has reached MaxAttempts or MaxAge.
func (c *Consumer) exhausted(d *handler.Delivery) bool {
	return c.cfg.MaxAttempts > 0 && attempts(d) >= c.cfg.MaxAttempts ||
		c.cfg.MaxAge > 0 && d.Timestamp().UnixNano() > 0 && time.Since(d.Timestamp()) > c.cfg.MaxAge
}

// requeue returns the outcome of a message that is delivered again.
func (c *Consumer) requeue(ctx context.Context, d *handler.Delivery, delay time.Duration, err error) handler.Outcome {
	delay = max(delay, 0)
	if limit := c.cfg.MaxRequeueDelay; delay > limit {
		if c.delayCut.CompareAndSwap(false, true) {
			c.logger.WarnContext(ctx, fmt.Sprintf("nsqx: a requeue delay of %v was cut to %v, which is as long as nsqd keeps a message by default; see WithMaxRequeueDelay. This is said once", delay, limit),
				"message", d)
		}
		delay = limit
	}
	return handler.Outcome{Disposition: handler.Requeue, Delay: delay, Err: err}
}

// attempts is the number of the delivery. nsqd's counter has 16 bits: 0 means that it has wrapped.
func attempts(d *handler.Delivery) int {
	if d.Attempts == 0 {
		return 1 << 16
	}
	return int(d.Attempts)
}

// panicOf returns the panic that err comes from; nil if there was none.
func panicOf(err error) *handler.PanicError {
	p, _ := errors.AsType[*handler.PanicError](err)
	return p
}
