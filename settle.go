package nsqx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// fallbackDelay is the delay of a requeue that no policy has a delay for: it
// panicked, or said stop, and the dead letter could not be published.
const fallbackDelay = 10 * time.Second

// errCrashes is what a message is given up for that seems to kill the process.
var errCrashes = errors.New("nsqx: given up unhandled: the message was delivered far more often than MaxAttempts allows, and its handler has never had the time to end")

// errUnsettled is the error of a message whose chain did not reach the handler,
// and did not say why.
var errUnsettled = errors.New("nsqx: the telemetry middleware has not called next")

// settle is the step of the chain that decides what nsqd hears, by the table of
// Consumer. It has told the message when it returns, and publishes a dead
// letter before that. It does not panic unless next does.
func (e *engine) settle(next handler.Raw) handler.Raw {
	return func(ctx context.Context, msg *handler.Message) error {
		m := (*handler.Delivery)(msg)
		if limit := e.cfg.maxAttempts; limit > 0 && attempts(m) > 2*limit+8 {
			m.SetOutcome(e.decide(ctx, m, errCrashes))
			return errCrashes
		}
		err := next(ctx, msg)
		if err == nil && !lost(m) { // the way of almost every message
			m.SetOutcome(handler.Outcome{Disposition: handler.Finish})
			return nil
		}
		m.SetOutcome(e.decide(ctx, m, err))
		return err
	}
}

// decide is outcome, unless the user code that it calls panics: the retry policy,
// the mapping of errors, the dead letter.
func (e *engine) decide(ctx context.Context, m *handler.Delivery, err error) (out handler.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			out = e.unsettled(ctx, m, handler.NewPanicError(p))
		}
	}()
	return e.outcome(ctx, m, err)
}

// outcome goes down the table of Consumer.
func (e *engine) outcome(ctx context.Context, m *handler.Delivery, err error) handler.Outcome {
	if out, ok := e.cutShort(m, err); ok {
		return out
	}
	if err == errCrashes {
		e.logger.LogAttrs(ctx, slog.LevelError, "nsqx: crash guard: message given up unhandled", slog.Any("message", m))
		return e.giveUp(ctx, m, err)
	}
	e.logPanic(ctx, m, err)
	verdict := retry.Of(e.classify(err))
	switch verdict.Action {
	case retry.Discard:
		e.control.succeededTrial()
		return handler.Outcome{Disposition: handler.Drop, Err: err}
	case retry.Again:
		return e.requeue(m, verdict.Delay, err)
	case retry.GiveUp:
		return e.giveUp(ctx, m, err)
	}
	delay := verdict.Delay
	if verdict.Action == retry.Backoff {
		if delay = e.cfg.retry.Delay(attempts(m), err); delay < 0 {
			return e.giveUp(ctx, m, err)
		}
	}
	_, undecodable := errors.AsType[*handler.DecodeError](err)
	if undecodable && e.cfg.givesUp != "" || e.beyondBounds(m) {
		return e.giveUp(ctx, m, err)
	}
	e.control.failed(m)
	return e.requeue(m, delay, err)
}

// cutShort is the outcome of a message of which nothing can, or need, be said.
// ok is false if it failed in time.
func (e *engine) cutShort(m *handler.Delivery, err error) (out handler.Outcome, ok bool) {
	out.Err = err
	switch {
	case lost(m):
		out.Disposition = handler.Lost
	case err == nil:
		out.Disposition = handler.Finish
	case !m.Answerable():
		out.Disposition = handler.Expired
	case interrupted(m):
		out.Disposition = handler.Interrupted
	default:
		return out, false
	}
	return out, true
}

// unsettled is the outcome of a message that the settle step has not decided
// on, because something outside or inside of it panicked, or did not call next.
// It is never a FIN.
func (e *engine) unsettled(ctx context.Context, m *handler.Delivery, err error) handler.Outcome {
	if err == nil {
		err = errUnsettled
	}
	call(e.events, []func(error){func(err error) { // it may be the user's, and its methods may panic
		e.logger.LogAttrs(ctx, slog.LevelError, "nsqx: message not settled by its chain", slog.Any("message", m), slog.Any("error", err))
		e.logPanic(ctx, m, err)
	}}, err)
	if out, ok := e.cutShort(m, err); ok {
		return out
	}
	return handler.Outcome{Disposition: handler.Requeue, Delay: min(fallbackDelay, e.cfg.maxRequeueDelay), Err: err}
}

// logPanic logs a panic with its stack: it is a bug that must not go unseen.
func (e *engine) logPanic(ctx context.Context, m *handler.Delivery, err error) {
	if p := panicOf(err); p != nil {
		e.logger.LogAttrs(ctx, slog.LevelError, "nsqx: panic while handling a message",
			slog.Any("message", m), slog.Any("panic", p.Value), slog.String("stack", string(p.Stack)))
	}
}

// panicOf returns the panic that err comes from; nil if there was none.
func panicOf(err error) *handler.PanicError {
	p, _ := errors.AsType[*handler.PanicError](err)
	return p
}

// classify asks the user's mapping what an error means.
func (e *engine) classify(err error) error {
	if e.cfg.errors != nil {
		if mapped := e.cfg.errors(err); mapped != nil {
			return mapped
		}
	}
	return err
}

// beyondBounds says whether a failed message has had all its chances.
func (e *engine) beyondBounds(m *handler.Delivery) bool {
	return e.cfg.maxAttempts > 0 && attempts(m) >= e.cfg.maxAttempts ||
		e.cfg.maxAge > 0 && m.Timestamp().UnixNano() > 0 && time.Since(m.Timestamp()) > e.cfg.maxAge
}

// requeue is the outcome of a message that comes again.
func (e *engine) requeue(m *handler.Delivery, delay time.Duration, err error) handler.Outcome {
	delay = max(delay, 0)
	if limit := e.cfg.maxRequeueDelay; delay > limit {
		if e.delayCut.CompareAndSwap(false, true) {
			e.logger.Warn(fmt.Sprintf("nsqx: a requeue delay of %v was cut to %v, which is as long as nsqd keeps a message by default; see WithMaxRequeueDelay. This is said once", delay, limit),
				"message", m)
		}
		delay = limit
	}
	return handler.Outcome{Disposition: handler.Requeue, Delay: delay, Err: err}
}

// giveUp ends a message: its dead letter is published before nsqd hears FIN.
// Without confirmation the message is requeued.
func (e *engine) giveUp(ctx context.Context, m *handler.Delivery, err error) handler.Outcome {
	switch {
	case e.cfg.discard:
		e.control.failedTrial(m)
		return handler.Outcome{Disposition: handler.Drop, Err: err}
	case e.cfg.givesUp == "":
		e.control.failedTrial(m)
		e.logger.LogAttrs(ctx, slog.LevelError, "nsqx: message dropped: it was given up, and there is no dead letter",
			slog.Any("message", m), slog.Any("error", err))
		return handler.Outcome{Disposition: handler.Drop, Err: err}
	}
	failure := e.deadLetter(ctx, m, err)
	switch {
	case lost(m):
		return handler.Outcome{Disposition: handler.Lost, Err: err}
	case failure == nil && !m.Answerable(): // it took too long: a FIN would end the next delivery
		return handler.Outcome{Disposition: handler.Expired, Err: err}
	case failure == nil:
		e.control.failedTrial(m)
		e.logger.LogAttrs(ctx, slog.LevelWarn, "nsqx: dead letter", slog.Any("message", m), slog.Any("error", err))
		return handler.Outcome{Disposition: handler.DeadLetter, Err: err}
	}
	e.logger.LogAttrs(ctx, slog.LevelError, "nsqx: dead letter not confirmed, message is requeued",
		slog.Any("message", m), slog.Any("error", err), slog.Any("failure", failure))
	err = errors.Join(err, failure)
	if out, ok := e.cutShort(m, err); ok {
		return out
	}
	delay := e.cfg.retry.Delay(attempts(m), err)
	if delay < 0 {
		delay = fallbackDelay
	}
	return e.requeue(m, delay, err)
}

// attempts is the number of the delivery. nsqd's counter has 16 bits: 0 means
// that it has gone round.
func attempts(m *handler.Delivery) int {
	if m.Attempts == 0 {
		return 1 << 16
	}
	return int(m.Attempts)
}

// lost says whether the connection that delivered m is gone.
func lost(m *handler.Delivery) bool {
	switch src := m.Source().(type) {
	case *conn.Conn:
		return !src.Alive()
	case nil:
		return false
	default:
		return context.Cause(src.Context()) == handler.ErrConnLost
	}
}

// interrupted says whether the shutdown has ended the context of m.
func interrupted(m *handler.Delivery) bool {
	src := m.Source()
	return src != nil && context.Cause(src.Context()) == handler.ErrShutdown
}
