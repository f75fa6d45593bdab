package notify

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/observe"
)

// records collects the lines of a text log, without their times.
type records struct{ check.Synced[string] }

func (r *records) Write(line []byte) (int, error) {
	r.Add(string(bytes.TrimSuffix(line, []byte("\n"))))
	return len(line), nil
}

func (r *records) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == "stack") {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// count returns the number of lines that contain text.
func (r *records) count(text string) int {
	return strings.Count(strings.Join(r.All(), "\n"), text)
}

// newQueue returns a queue of orders/billing that is not started.
func newQueue(log *records, hooks ...observe.Hooks) *Queue {
	return New(guard.Logger(log.logger()), "orders", "billing", hooks)
}

// wantClosed closes the queue and checks how long that takes, and its result.
func wantClosed(t *testing.T, q *Queue, deadline, took time.Duration, want bool) {
	t.Helper()
	start := time.Now()
	check.Want(t, "Close", q.Close(start.Add(deadline)), want)
	check.Want(t, "time of Close", time.Since(start), took)
}

// stackHandler keeps the last attribute "stack".
type stackHandler struct {
	slog.Handler
	stack *string
}

func (h stackHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "stack" {
			*h.stack = a.Value.String()
		}
		return true
	})
	return h.Handler.Handle(ctx, r)
}

// exitHandler calls runtime.Goexit for some records.
type exitHandler struct {
	slog.Handler
	exits func(slog.Record) bool // may be nil
}

func (h exitHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.exits != nil && h.exits(r) {
		runtime.Goexit()
	}
	return h.Handler.Handle(ctx, r)
}
