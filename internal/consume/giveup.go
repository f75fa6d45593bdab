package consume

import (
	"context"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/pool"
)

// GiveUp is what becomes of a message that is given up. Its implementations are Unset, Discard,
// DeadLetterTopic and DeadLetterFunc; another needs a file like theirs and an option.
type GiveUp interface {
	// Configured reports whether the user has said what becomes of such messages.
	Configured() bool

	// Keep makes the message safe and returns what nsqd is told: DeadLetter or Drop, both of which
	// are a FIN. After an error the message is not safe, and is requeued. ctx outlives the
	// handler's. send publishes a dead letter.
	Keep(ctx context.Context, send handler.Send, d *handler.Delivery, cause error) (handler.Disposition, error)
}

// Unset is the GiveUp of a consumer without an option for it. The handler, or its policy, has asked
// for the end of the message, so it is dropped with an error in the log.
type Unset struct{}

// Configured returns false.
func (Unset) Configured() bool { return false }

// Keep keeps nothing.
func (Unset) Keep(context.Context, handler.Send, *handler.Delivery, error) (handler.Disposition, error) {
	return handler.Drop, nil
}

// Discard is WithDiscard.
type Discard struct{}

// Configured returns true.
func (Discard) Configured() bool { return true }

// Keep keeps nothing.
func (Discard) Keep(context.Context, handler.Send, *handler.Delivery, error) (handler.Disposition, error) {
	return handler.Drop, nil
}

// giveUp ends a message: it is safe before nsqd hears FIN, or requeued. The message is touched
// meanwhile.
func (c *Consumer) giveUp(ctx context.Context, d *handler.Delivery, err error) handler.Outcome {
	disposition, failure := c.keep(ctx, d, err)
	switch {
	case pool.Lost(d):
		return handler.Outcome{Disposition: handler.Lost, Err: err}
	case failure == nil && disposition == handler.DeadLetter && !d.Answerable(): // a FIN would end the next delivery
		return handler.Outcome{Disposition: handler.Expired, Err: err}
	case failure == nil:
		return handler.Outcome{Disposition: disposition, Err: err}
	}
	err = &keepError{err, c.destination(), failure}
	if out, ok := unanswerable(d, err); ok {
		return out
	}
	delay := c.cfg.Retry.Delay(c.delivered(d), err)
	if delay < 0 {
		delay = fallbackDelay
	}
	return c.requeue(d, delay, err)
}

// keep calls the GiveUp with a ctx that has the values of the handler's, but ends only when a
// shutdown waits for dead letters no more.
func (c *Consumer) keep(ctx context.Context, d *handler.Delivery, cause error) (handler.Disposition, error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(c.settling, func() { cancel(context.Cause(c.settling)) })()
	return c.cfg.GiveUp.Keep(ctx, c.sendDead, d, cause)
}

// keepTouched touches d now and each third of its message timeout, until stop is called.
func keepTouched(d *handler.Delivery) (stop func()) {
	m := d.Message()
	if m.Touch() != nil || d.Source().Terms().MessageTimeout <= 0 {
		return func() {}
	}
	ticker := time.NewTicker(d.Source().Terms().MessageTimeout / 3)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ticker.C:
				if m.Touch() != nil {
					return
				}
			case <-quit:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(quit)
		<-done
	}
}
