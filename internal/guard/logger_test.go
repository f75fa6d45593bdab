package guard

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// faulty is a slog.Handler with methods that panic.
type faulty struct {
	slog.Handler
	enabled, handle, withAttrs, withGroup bool // panic
}

func (f faulty) Enabled(ctx context.Context, level slog.Level) bool {
	if f.enabled {
		panic(errPanic)
	}
	return f.Handler.Enabled(ctx, level)
}

func (f faulty) Handle(ctx context.Context, r slog.Record) error {
	if f.handle {
		panic(errPanic)
	}
	return f.Handler.Handle(ctx, r)
}

func (f faulty) WithAttrs(attrs []slog.Attr) slog.Handler {
	if f.withAttrs {
		panic(errPanic)
	}
	f.Handler = f.Handler.WithAttrs(attrs)
	return f
}

func (f faulty) WithGroup(name string) slog.Handler {
	if f.withGroup {
		panic(errPanic)
	}
	f.Handler = f.Handler.WithGroup(name)
	return f
}

// panickyValue panics when it is logged.
type panickyValue struct{}

func (panickyValue) LogValue() slog.Value { panic(errPanic) }

// panickyError panics when it is printed.
type panickyError struct{ text []string }

func (e *panickyError) Error() string { return e.text[0] }

// TestLogger: what a panic of the handler leaves of a record.
func TestLogger(t *testing.T) {
	for name, tt := range map[string]struct {
		faulty faulty
		want   string
	}{
		"no fault":  {faulty{}, "level=WARN msg=hello a=1 g.b=2\n"},
		"Enabled":   {faulty{enabled: true}, ""},
		"Handle":    {faulty{handle: true}, ""},
		"WithAttrs": {faulty{withAttrs: true}, "level=WARN msg=hello g.b=2\n"},
		"WithGroup": {faulty{withGroup: true}, "level=WARN msg=hello a=1 b=2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			tt.faulty.Handler = slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: withoutTime})
			l := Logger(slog.New(tt.faulty)).With("a", 1).WithGroup("g")
			l.Warn("hello", "b", 2)
			l.Debug("not enabled")
			check.Want(t, "log", out.String(), tt.want)
		})
	}
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// TestLoggerValues: a value that panics does not reach the caller. slog itself reports LogValue.
func TestLoggerValues(t *testing.T) {
	var out strings.Builder
	l := Logger(slog.New(slog.NewTextHandler(&out, nil)))
	l.Info("first", "value", panickyValue{})
	l.Info("second", "error", &panickyError{})
	l.Info("third", "error", (*panickyError)(nil))
	l.With("value", panickyValue{}).Info("fourth")
	l.Info("last")
	check.Want(t, "last record is written", strings.Contains(out.String(), "msg=last"), true)
}

// TestLoggerHandle returns what the handler returns, and a panic as an error.
func TestLoggerHandle(t *testing.T) {
	for name, tt := range map[string]struct {
		handle func() error
		want   error
	}{
		"nil":   {func() error { return nil }, nil},
		"error": {func() error { return errUser }, errUser},
		"panic": {func() error { panic(errPanic) }, errPanic},
	} {
		h := Logger(slog.New(handle{tt.handle})).Handler()
		err := h.Handle(t.Context(), slog.Record{})
		check.WantErr(t, name, err, tt.want)
		_, ok := errors.AsType[*handler.PanicError](err)
		check.Want(t, name+" is a PanicError", ok, name == "panic")
	}
}

// handle is a slog.Handler made of a function.
type handle struct{ f func() error }

func (handle) Enabled(context.Context, slog.Level) bool    { return true }
func (h handle) Handle(context.Context, slog.Record) error { return h.f() }
func (h handle) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h handle) WithGroup(string) slog.Handler             { return h }

// TestLoggerOfNothing: a handler may return nil from WithAttrs.
func TestLoggerOfNothing(t *testing.T) {
	l := Logger(slog.New(nothing{}))
	l.With("a", 1).Error("lost")
	l.WithGroup("g").Error("lost")
}

type nothing struct{ slog.Handler }

func (nothing) WithAttrs([]slog.Attr) slog.Handler { return nil }
func (nothing) WithGroup(string) slog.Handler      { return nil }
