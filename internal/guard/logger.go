package guard

import (
	"context"
	"log/slog"
)

// Logger returns a logger whose records reach l, and which survives a panic of l's handler and of
// the values that are logged. A record that cannot be written is lost.
func Logger(l *slog.Logger) *slog.Logger { return slog.New(logHandler{l.Handler()}) }

type logHandler struct{ next slog.Handler }

func (h logHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	_ = Call(func() { enabled = h.next.Enabled(ctx, level) })
	return enabled
}

func (h logHandler) Handle(ctx context.Context, r slog.Record) (err error) {
	if failure := Call(func() { err = h.next.Handle(ctx, r) }); failure != nil {
		return failure
	}
	return err
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := h.next
	_ = Call(func() { next = h.next.WithAttrs(attrs) })
	return logHandler{next}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	next := h.next
	_ = Call(func() { next = h.next.WithGroup(name) })
	return logHandler{next}
}
