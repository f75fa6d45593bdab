package consume

import (
	"context"
	"errors"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/internal/pool"
	"github.com/nsqx/nsqx/retry"
)

// fallbackDelay is the delay of a requeue for which no policy has one: the policy panicked, or it
// said stop and the dead letter was not confirmed.
const fallbackDelay = 10 * time.Second

// errCrashes is why the crash guard gives a message up.
var errCrashes = errors.New("nsqx: given up unhandled by WithCrashGuard: the message was delivered too often without an end, so its handler may kill the process")

// errUnsettled is the error of a message whose chain neither reached settle nor failed.
var errUnsettled = errors.New("nsqx: the telemetry middleware has not called next")

// settle is the step of the chain that decides what nsqd is told, by the table of nsqx.Consumer. A
// dead letter is published before it returns. It panics only if next does.
func (c *Consumer) settle(next handler.Raw) handler.Raw {
	limits := c.limits()
	return func(ctx context.Context, m *handler.Message) error {
		d := (*handler.Delivery)(m)
		if limits || !d.Ordinary() { // rarely
			if done, err := c.settleUnhandled(ctx, d); done {
				return err
			}
		}
		err := next(ctx, m)
		if err == nil && !pool.Lost(d) { // nearly always
			d.SetOutcome(handler.Outcome{Disposition: handler.Finish})
			return nil
		}
		c.conclude(ctx, d, err)
		return err
	}
}

// limits reports whether settleUnhandled has to look at ordinary messages, too.
func (c *Consumer) limits() bool { return c.cfg.CrashGuard > 0 || c.cfg.SkipOlder > 0 }

// settleUnhandled settles a message that no handler is to see: one without its body, one that was
// redriven for another channel, one that reaches the crash guard, and one that comes too late.
func (c *Consumer) settleUnhandled(ctx context.Context, d *handler.Delivery) (done bool, err error) {
	if err := d.Fault(); err != nil {
		c.conclude(ctx, d, err)
		return true, err
	}
	if d.ForAnotherChannel() {
		d.SetOutcome(handler.Outcome{Disposition: handler.Skip})
		return true, nil
	}
	if c.attemptsReach(d, c.cfg.CrashGuard) {
		c.conclude(ctx, d, errCrashes)
		return true, errCrashes
	}
	if err := c.tooLate(d); err != nil {
		c.conclude(ctx, d, err)
		return true, err
	}
	return false, nil
}

// conclude decides on a message, then logs that.
func (c *Consumer) conclude(ctx context.Context, d *handler.Delivery, err error) {
	out, verdict := c.decide(ctx, d, err)
	d.SetOutcome(out)
	c.report(ctx, d, out, verdict, false)
}

// decide is outcome, but survives a panic of policy, mapping or dead letter. verdict is that of the
// mapped error; zero if the mapping panicked.
func (c *Consumer) decide(ctx context.Context, d *handler.Delivery, err error) (out handler.Outcome, verdict retry.Verdict) {
	panicked := guard.Call(func() {
		mapped := c.classify(err)
		verdict = retry.Of(mapped)
		out = c.outcome(ctx, d, err, mapped, verdict)
	})
	if panicked != nil {
		out = c.settleFallback(d, panicked)
	}
	return out, verdict
}

// outcome goes down the table of nsqx.Consumer.
func (c *Consumer) outcome(ctx context.Context, d *handler.Delivery, err, mapped error, verdict retry.Verdict) handler.Outcome {
	if out, ok := unanswerable(d, err); ok {
		switch {
		case verdict.Action == retry.Again: // no attempt, though nsqd does not hear it
			c.uncounted.add(d)
		case out.Disposition == handler.Expired && c.breaker.Failed(d, err): // it took too long
			c.uncounted.add(d)
		}
		return out
	}
	if err == errCrashes {
		return c.giveUp(ctx, d, err)
	}
	if _, stale := err.(*staleError); stale {
		return c.skip(ctx, d, err)
	}
	if d.Fault() != nil {
		return c.failedUnread(ctx, d, verdict, err)
	}
	switch verdict.Action {
	case retry.Discard:
		c.breaker.Answered()
		return handler.Outcome{Disposition: handler.Drop, Err: err}
	case retry.Again:
		c.breaker.Deferred()
		c.uncounted.add(d)
		if retry.Of(err).Action != retry.Again {
			err = errors.Join(mapped, err) // so that others see that it is no failure
		}
		return c.requeue(d, verdict.Delay, err)
	case retry.GiveUp:
		c.breaker.Answered()
		return c.giveUp(ctx, d, err)
	}
	return c.failed(ctx, d, verdict, err)
}

// failed returns the outcome of a message that its handler could not deal with.
func (c *Consumer) failed(ctx context.Context, d *handler.Delivery, verdict retry.Verdict, err error) handler.Outcome {
	delay := verdict.Delay
	if verdict.Action == retry.Backoff {
		delay = c.cfg.Retry.Delay(c.delivered(d), err)
		switch {
		case delay >= 0:
		case c.cfg.Retry.Delay(1, err) < 0: // for such an error, whatever the attempt
			c.breaker.Answered()
			return c.giveUp(ctx, d, err)
		default:
			delay = c.cfg.Retry.Delay(c.attempts(d), err)
		}
	}
	outage := false
	if verdict.Quiet {
		c.breaker.Deferred()
	} else {
		outage = c.breaker.Failed(d, err)
	}
	if _, undecodable := errors.AsType[*handler.DecodeError](err); undecodable && c.cfg.GiveUp.Configured() || c.tooOld(d) {
		return c.giveUp(ctx, d, err)
	}
	if verdict.Action == retry.Backoff && delay < 0 || c.attemptsReach(d, c.cfg.MaxAttempts) {
		if !outage && !c.spare(d, err) {
			return c.giveUp(ctx, d, err)
		}
		outage = true
	}
	if outage {
		c.uncounted.add(d)
		if delay < 0 && verdict.Action == retry.Backoff {
			delay = fallbackDelay
		}
	}
	return c.requeue(d, delay, err)
}

// spare reports whether a message without attempts left is kept, since every message fails at
// present.
func (c *Consumer) spare(d *handler.Delivery, err error) bool {
	if !c.breaker.Outage(d) {
		return false
	}
	if now, last := time.Now().Unix(), c.sparedAt.Load(); now-last >= 60 && c.sparedAt.CompareAndSwap(last, now) {
		ev := notify.Event{Kind: notify.Spared}
		ev.Err = errors.New(reason(err))
		c.events.Post(ev)
	}
	return true
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
func (c *Consumer) settleFallback(d *handler.Delivery, err error) handler.Outcome {
	if err == nil {
		err = errUnsettled
	}
	if out, ok := unanswerable(d, err); ok {
		return out
	}
	return handler.Outcome{Disposition: handler.Requeue, Delay: min(fallbackDelay, c.cfg.MaxRequeueDelay), Err: err}
}

// classify asks the user's mapping what an error means. It is not asked about the consumer's own
// reasons to give a message up unhandled.
func (c *Consumer) classify(err error) error {
	_, stale := err.(*staleError)
	if c.cfg.Errors != nil && err != nil && err != errCrashes && !stale {
		if mapped := c.cfg.Errors(err); mapped != nil {
			return mapped
		}
	}
	return err
}

// tooOld reports whether a failed message has reached MaxAge.
func (c *Consumer) tooOld(d *handler.Delivery) bool {
	return c.cfg.MaxAge > 0 && older(d, c.cfg.MaxAge)
}

// requeue returns the outcome of a message that is delivered again.
func (c *Consumer) requeue(d *handler.Delivery, delay time.Duration, err error) handler.Outcome {
	delay = max(delay, 0)
	if limit := c.cfg.MaxRequeueDelay; delay > limit {
		if c.delayCut.CompareAndSwap(false, true) {
			ev := notify.Event{Kind: notify.DelayCut, Took: delay}
			ev.Retry = limit
			c.events.Post(ev)
		}
		delay = limit
	}
	return handler.Outcome{Disposition: handler.Requeue, Delay: delay, Err: err}
}
