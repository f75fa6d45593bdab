package guard

import (
	"context"
	"log/slog"
)

// Logger returns a logger whose records reach l, and which survives l's handler and the values that
// are logged, whether they panic or call runtime.Goexit. A record that cannot be written is lost.
// Each record costs a goroutine: it is for what happens rarely.
func Logger(l *slog.Logger) *slog.Logger { return slog.New(logHandler{l.Handler()}) }

type logHandler struct{ next slog.Handler }

func (h logHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	_ = Isolate(func() { enabled = h.next.Enabled(ctx, level) })
	return enabled
}

func (h logHandler) Handle(ctx context.Context, r slog.Record) (err error) {
	if failure := Isolate(func() { err = h.next.Handle(ctx, r) }); failure != nil {
		return failure
	}
	return err
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := h.next
	_ = Isolate(func() { next = h.next.WithAttrs(attrs) })
	return logHandler{next}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	next := h.next
	_ = Isolate(func() { next = h.next.WithGroup(name) })
	return logHandler{next}
}
