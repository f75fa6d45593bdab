package consume

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strconv"
	"strings"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/retry"
)

// keepError is the error of a message that was given up and could not be kept.
type keepError struct {
	cause       error // why it was given up
	destination string
	err         error // why it could not be kept
}

func (e *keepError) Error() string {
	return "nsqx: dead letter to " + strconv.Quote(e.destination) + " not confirmed: " + reason(e.err) + "; given up for: " + reason(e.cause)
}

// describe returns what the log says of it.
func (e *keepError) describe() string {
	switch {
	case errors.Is(e.err, conn.ErrUnconfirmed):
		return "dead letter not confirmed, nsqd may have it: the message stays, and is handled again"
	case e.destination == toFunc:
		return "dead letter not kept: WithDeadLetterFunc has failed, and the message stays and is handled again"
	}
	return "dead letter not published: the message stays, and is handled again"
}

func (e *keepError) Unwrap() []error { return []error{e.cause, e.err} }

// destination is where messages go that are given up.
func (c *Consumer) destination() string {
	switch g := c.cfg.GiveUp.(type) {
	case DeadLetterTopic:
		return g.Topic
	case DeadLetterFunc:
		return toFunc
	}
	return "nowhere"
}

const toFunc = "WithDeadLetterFunc"

// report logs a delivery that has not ended in a success, at most one line a delivery. It is called
// when the outcome is recorded, since user code may panic here: errors are. verdict is what the
// handler or the mapping asked for. unsettled is set if the chain has not decided.
func (c *Consumer) report(ctx context.Context, d *handler.Delivery, out handler.Outcome, verdict retry.Verdict, unsettled bool) {
	err := guard.Call(func() {
		if !isDeferral(out) {
			c.reportFailure(ctx, d, out, verdict, unsettled)
		}
	})
	if err != nil {
		out.Err = errors.New(reason(out.Err))
		_ = guard.Call(func() { c.reportFailure(ctx, d, out, verdict, unsettled) })
	}
}

// isDeferral reports whether the handler only wants the message again later.
func isDeferral(out handler.Outcome) bool {
	return (out.Disposition == handler.Requeue || out.Disposition == handler.Interrupted) && retry.Of(out.Err).Action == retry.Again
}

func (c *Consumer) reportFailure(ctx context.Context, d *handler.Delivery, out handler.Outcome, verdict retry.Verdict, unsettled bool) {
	level, text := c.describeOutcome(out, verdict)
	key := notify.FailureKind{Text: text, Disposition: out.Disposition}
	unkept, p := as[*keepError](out.Err), as[*handler.PanicError](out.Err)
	var stack []byte
	switch {
	case p != nil:
		level, key.Text, key.Error = slog.LevelError, textPanic, guard.Site(p.Stack)
		stack = p.Stack
	case as[*conn.SizeError](out.Err) != nil:
		key.Text = "message too large, no handler sees it; see MaxMessageSize of conn.Config"
		if errors.Is(out.Err, errNoBody) {
			level = slog.LevelError
		}
	case unkept != nil:
		level, key.Text, key.Error = slog.LevelError, unkept.describe(), errorType(unkept.err)
	case unsettled:
		level, key.Text, key.Error = slog.LevelError, "message not settled by its chain", errorType(out.Err)
	case out.Err == errCrashes:
		level, key.Text = slog.LevelError, "crash guard: message given up unhandled; see WithCrashGuard"
	case out.Disposition == handler.Requeue && isMilestone(c.delivered(d)):
		key.Text, key.Error = "message fails again and again; see WithMaxAttempts, WithDeadLetter", strconv.Itoa(c.delivered(d))
	case out.Disposition == handler.Requeue && as[*handler.DecodeError](out.Err) != nil:
		key.Text, key.Error = "message does not decode, and is requeued; see WithDeadLetter", errorType(out.Err)
	default:
		key.Error = errorType(out.Err)
	}
	c.fail(ctx, d, out, key, level, stack)
}

// fail writes a line about a message that a connection has delivered in the goroutine of events. Of
// other messages, given to Process, it writes errors alone, at once.
func (c *Consumer) fail(ctx context.Context, d *handler.Delivery, out handler.Outcome, key notify.FailureKind, level slog.Level, stack []byte) {
	_, delivered := d.Source().(*conn.Conn)
	switch {
	case level < slog.LevelError && (c.cfg.NoFailureLog || !delivered):
	case delivered:
		c.events.Fail(ctx, key, level, stack, func() []slog.Attr { return c.attrs(d, out) })
	default:
		c.events.FailNow(ctx, key.Text, level, stack, c.attrs(d, out))
	}
}

const textPanic = "panic while handling a message"

// reportPanic logs a panic of the telemetry, after the outcome of the message was decided.
func (c *Consumer) reportPanic(ctx context.Context, m *handler.Message, p *handler.PanicError) {
	_ = guard.Call(func() {
		key := notify.FailureKind{Text: textPanic, Error: guard.Site(p.Stack)}
		c.fail(ctx, (*handler.Delivery)(m), handler.Outcome{Disposition: m.Outcome().Disposition, Err: p}, key, slog.LevelError, p.Stack)
	})
}

// describeOutcome returns what the log says of an outcome.
func (c *Consumer) describeOutcome(out handler.Outcome, verdict retry.Verdict) (slog.Level, string) {
	switch out.Disposition {
	case handler.DeadLetter:
		return slog.LevelWarn, "message given up: it is a dead letter"
	case handler.Drop:
		switch {
		case as[*staleError](out.Err) != nil:
			return slog.LevelInfo, "message skipped: it has expired or is too old; see WithSkipOlder"
		case verdict.Action == retry.Discard && as[*handler.DecodeError](out.Err) != nil:
			return slog.LevelWarn, "message does not decode, and is discarded; see retry.Drop"
		case verdict.Action == retry.Discard:
			return slog.LevelWarn, "message discarded: its handler asked for that"
		case c.cfg.GiveUp.Configured():
			return slog.LevelWarn, "message given up and discarded; see WithDiscard"
		}
		return slog.LevelError, "message dropped: it was given up, and there is no dead letter; see WithDeadLetter"
	case handler.Interrupted:
		return slog.LevelInfo, "message interrupted by the shutdown, and requeued; see WithShutdownTimeout"
	case handler.Expired:
		return slog.LevelWarn, "message failed after its message timeout: nsqd may deliver it elsewhere; see WithMessageTimeout"
	case handler.Lost:
		return slog.LevelInfo, "message not answered, since its connection is gone: nsqd delivers it again"
	}
	return slog.LevelWarn, "message failed, and is requeued"
}

// attrs returns the attributes of a line about a delivery. They refer to no memory of the message.
func (c *Consumer) attrs(d *handler.Delivery, out handler.Outcome) []slog.Attr {
	attrs := []slog.Attr{
		slog.String("nsqd", d.NSQD()), slog.String("msg.id", d.ID.String()), slog.Int("msg.attempts", deliveries(d)),
		notify.Seconds("age_seconds", notify.Age(d)), slog.String("disposition", out.Disposition.String()),
	}
	switch out.Disposition {
	case handler.Requeue:
		attrs = append(attrs, notify.Seconds("delay_seconds", out.Delay))
	case handler.DeadLetter:
		attrs = append(attrs, slog.String("destination", c.destination()))
	case handler.Drop: // nobody can look up its id
		if uid := d.Message().UID(); uid != "" {
			attrs = append(attrs, slog.String("msg.uid", uid))
		}
	}
	if unkept := as[*keepError](out.Err); unkept != nil {
		return append(attrs, slog.String("destination", unkept.destination),
			slog.String("error", reason(unkept.cause)), slog.String("dead_letter_error", reason(unkept.err)))
	}
	switch out.Disposition {
	case handler.Requeue, handler.DeadLetter, handler.Drop:
		attrs = append(attrs, c.limitAttrs(d, out)...)
	}
	if out.Err != nil {
		attrs = append(attrs, slog.String("error", reason(out.Err)))
	}
	return attrs
}

// limitAttrs returns the attributes that say how near a message is to be given up, or was.
func (c *Consumer) limitAttrs(d *handler.Delivery, out handler.Outcome) (attrs []slog.Attr) {
	if limit := c.cfg.MaxAttempts; limit > 0 {
		counted := c.attempts(d)
		if counted != deliveries(d) {
			attrs = append(attrs, slog.Int("counted_attempts", counted))
		}
		if attrs = append(attrs, slog.Int("max_attempts", limit)); counted+1 == limit && out.Disposition == handler.Requeue {
			attrs = append(attrs, slog.String("next_attempt", "the last"))
		}
	}
	if c.cfg.MaxAge > 0 {
		attrs = append(attrs, notify.Seconds("max_age_seconds", c.cfg.MaxAge))
	}
	return attrs
}

// isMilestone reports whether n is 10, 100, 1000 and so on.
func isMilestone(n int) bool {
	for n > 10 && n%10 == 0 {
		n /= 10
	}
	return n == 10
}

// as is errors.AsType for an error that may be nil.
func as[E error](err error) (e E) {
	e, _ = errors.AsType[E](err)
	return e
}

// errorType is the type of an error, without the wrappers of fmt, errors and package retry.
func errorType(err error) string {
	for err != nil {
		if e, ok := err.(interface{ ErrorType() string }); ok {
			return e.ErrorType()
		}
		name, inner := reflect.TypeOf(err).String(), errors.Unwrap(err)
		if inner == nil || !strings.HasPrefix(name, "*fmt.") && !strings.HasPrefix(name, "*retry.") && !strings.HasPrefix(name, "*backoff.") {
			return name
		}
		err = inner
	}
	return ""
}
