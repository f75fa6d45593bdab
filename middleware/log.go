package middleware

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// Log writes one record for each message whose handler has returned: at level Debug for nil and for
// retry.After(d, nil), which only asks for a later delivery; at Warn for an error (including one that
// asks to drop the message); and at Error for a panic. [SuccessLevel], [FailureLevel] and
// [PanicLevel] change the levels. A consumer logs kinds of failures without it: Log is for a line a
// message.
//
// The attributes are topic, channel, nsqd, msg.id, msg.attempts, duration_seconds (of everything
// inside this middleware), delay_seconds of a deferral, and error. Log writes neither the body nor the
// stack of a panic; the consumer logs the stack. A record below the logger's level costs only the
// check.
//
// Records are written under the handler's context, so a slog.Handler finds the trace there. A
// panic is recovered from, as by [Recover].
//
// A logger that panics loses the record, and does not change the answer of the handler.
//
// A nil logger means slog.Default at the time of the call.
func Log(logger *slog.Logger, opts ...LogOption) handler.Middleware {
	return newLog(logger, opts).middleware
}

func newLog(logger *slog.Logger, opts []LogOption) *log {
	if logger == nil {
		logger = slog.Default()
	}
	l := &log{
		logger:  logger,
		success: slog.LevelDebug,
		failure: slog.LevelWarn,
		panic:   slog.LevelError,
	}
	for _, o := range opts {
		if o != nil {
			o.applyLog(l)
		}
	}
	return l
}

// LogOption is an option of [Log] and [LogBatch]. nil is ignored.
type LogOption interface{ applyLog(*log) }

type logOption func(*log)

func (f logOption) applyLog(l *log) { f(l) }

// SuccessLevel sets the level for messages that were handled or deferred. It is evaluated for each message,
// so a [*slog.LevelVar] may change it. nil, and the default, is [slog.LevelDebug].
func SuccessLevel(level slog.Leveler) LogOption {
	return logOption(func(l *log) { l.success = levelOr(level, slog.LevelDebug) })
}

// FailureLevel sets the level for messages whose handler returned an error. Defaults to
// [slog.LevelWarn], also if nil.
func FailureLevel(level slog.Leveler) LogOption {
	return logOption(func(l *log) { l.failure = levelOr(level, slog.LevelWarn) })
}

// PanicLevel sets the level for messages whose handler or codec panicked. Defaults to
// [slog.LevelError], also if nil.
func PanicLevel(level slog.Leveler) LogOption {
	return logOption(func(l *log) { l.panic = levelOr(level, slog.LevelError) })
}

func levelOr(level, fallback slog.Leveler) slog.Leveler {
	if level == nil {
		return fallback
	}
	return level
}

type log struct {
	logger                  *slog.Logger
	success, failure, panic slog.Leveler
}

func (l *log) middleware(next handler.Raw) handler.Raw {
	next = Recover()(next) // a panic must become a record, too
	return func(ctx context.Context, m *handler.Message) error {
		if !l.wantsAny(ctx) {
			return next(ctx, m)
		}
		start := time.Now()
		err := next(ctx, m)
		l.record(ctx, m, start, err)
		return err
	}
}

// record writes the record of one message, if the logger wants it. A panic of the logger, or of the
// error's methods, loses the record: the answer of the handler stays.
func (l *log) record(ctx context.Context, m *handler.Message, start time.Time, err error) {
	defer func() { _ = recover() }()
	if level, end := l.levelOf(err); l.logger.Enabled(ctx, level) {
		l.write(ctx, level, textOf("message", end), m, time.Since(start), err)
	}
}

// wantsAny reports whether any result could become a record.
func (l *log) wantsAny(ctx context.Context) bool {
	defer func() { _ = recover() }()
	return l.logger.Enabled(ctx, l.failure.Level()) ||
		l.logger.Enabled(ctx, l.panic.Level()) ||
		l.logger.Enabled(ctx, l.success.Level())
}

// levelOf returns the level of a record, and how the handler has ended.
func (l *log) levelOf(err error) (level slog.Level, end string) {
	if err == nil {
		return l.success.Level(), "handled"
	}
	if retry.Of(err).Action == retry.Again {
		return l.success.Level(), "deferred"
	}
	if _, ok := errors.AsType[*handler.PanicError](err); ok {
		return l.panic.Level(), panicked
	}
	return l.failure.Level(), "failed"
}

const panicked = "panicked"

// textOf returns the text of a record about a message or a batch.
func textOf(what, end string) string {
	if end == panicked {
		what = "handler"
	}
	return what + " " + end
}

func (l *log) write(ctx context.Context, level slog.Level, text string, m *handler.Message, took time.Duration, err error) {
	l.logger.LogAttrs(ctx, level, text, withAnswer(append(make([]slog.Attr, 0, 7),
		slog.String("topic", m.Topic()),
		slog.String("channel", m.Channel()),
		slog.String("nsqd", m.NSQD()),
		slog.String("msg.id", m.ID.String()),
		slog.Int("msg.attempts", int(m.Attempts)),
		slog.Float64("duration_seconds", took.Seconds()),
	), err)...)
}

// withAnswer adds the answer of a handler.
func withAnswer(attrs []slog.Attr, err error) []slog.Attr {
	if v := retry.Of(err); v.Action == retry.Again {
		return append(attrs, slog.Float64("delay_seconds", v.Delay.Seconds()))
	}
	if err != nil {
		return append(attrs, slog.Any("error", err))
	}
	return attrs
}
