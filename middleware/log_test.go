package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/retry"
)

// records returns a logger, and a function that parses the records written so far.
func records(t testing.TB, level slog.Leveler) (*slog.Logger, func() []map[string]any) {
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: level}))
	return logger, func() (all []map[string]any) {
		t.Helper()
		for dec := json.NewDecoder(&out); dec.More(); {
			var r map[string]any
			if err := dec.Decode(&r); err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
		return all
	}
}

var errBusy = errors.New("busy")

func TestLog(t *testing.T) {
	common := []string{"channel", "duration_seconds", "level", "msg", "msg.attempts", "msg.id", "nsqd", "time", "topic"}
	failed := slices.Sorted(slices.Values(append(slices.Clone(common), "error")))
	deferred := slices.Sorted(slices.Values(append(slices.Clone(common), "delay_seconds")))

	for name, c := range map[string]struct {
		fn         handler.Raw
		level, msg string
		err        any
		keys       []string
	}{
		"success":         {answer(nil), "DEBUG", "message handled", nil, common},
		"deferral":        {answer(fmt.Errorf("later: %w", retry.After(time.Minute, nil))), "DEBUG", "message deferred", nil, deferred},
		"delay, failed":   {answer(retry.After(time.Minute, errBusy)), "WARN", "message failed", "after 1m0s: busy", failed},
		"failure":         {answer(errBusy), "WARN", "message failed", "busy", failed},
		"panic":           {panicking("boom"), "ERROR", "handler panicked", "nsqx: panic: boom", failed},
		"panic as answer": {answer(fmt.Errorf("tried: %w", handler.NewPanicError("boom"))), "ERROR", "handler panicked", "tried: nsqx: panic: boom", failed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, written := records(t, slog.LevelDebug)
				m := newSource(t).message("s3cret")
				slow := func(ctx context.Context, m *handler.Message) error {
					time.Sleep(1500 * time.Millisecond)
					return c.fn(ctx, m)
				}
				_ = run(m, middleware.Log(logger), slow)

				all := written()
				if len(all) != 1 {
					t.Fatalf("got %d records, want 1: %v", len(all), all)
				}
				r := all[0]
				if keys := slices.Sorted(maps.Keys(r)); !slices.Equal(keys, c.keys) {
					t.Errorf("keys: got %v, want %v", keys, c.keys)
				}
				for key, v := range map[string]any{
					"level": c.level, "msg": c.msg, "error": c.err,
					"topic": "orders", "channel": "billing", "nsqd": "127.0.0.1:4150",
					"msg.id": "0123456789abcdef", "msg.attempts": 3.0, "duration_seconds": 1.5,
				} {
					check.Want(t, key, r[key], v)
				}
				if s := fmt.Sprint(r); strings.Contains(s, "s3cret") {
					t.Errorf("the body was logged: %s", s)
				}
			})
		})
	}
}

func TestLogPassesAnswersOn(t *testing.T) {
	m := newSource(t).message("body")
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelError + 1} {
		logger, _ := records(t, level)
		mw := middleware.Log(logger)
		check.Want(t, "success", run(m, mw, answer(nil)), nil)
		check.Want(t, "failure", run(m, mw, answer(errBusy)), errBusy)
		var p *handler.PanicError
		if err := run(m, mw, panicking("boom")); !errors.As(err, &p) {
			t.Errorf("panic: got %v, want a PanicError", err)
		}
	}
}

func TestLogLevels(t *testing.T) {
	m := newSource(t).message("body")
	var moving slog.LevelVar
	moving.Set(slog.LevelDebug - 4)
	opts := []middleware.LogOption{
		nil,
		middleware.SuccessLevel(&moving),
		middleware.FailureLevel(slog.LevelInfo),
		middleware.PanicLevel(slog.LevelWarn),
	}
	logger, written := records(t, slog.LevelDebug)
	h := middleware.Log(logger, opts...)
	_ = run(m, h, answer(nil)) // below the logger's level
	moving.Set(slog.LevelError)
	_ = run(m, h, answer(nil))
	_ = run(m, h, answer(errBusy))
	_ = run(m, h, panicking("boom"))
	_ = run(m, middleware.Log(logger, middleware.SuccessLevel(nil), middleware.FailureLevel(nil), middleware.PanicLevel(nil)), answer(errBusy))

	var levels []string
	for _, r := range written() {
		levels = append(levels, r["level"].(string))
	}
	check.Want(t, "levels", strings.Join(levels, " "), "ERROR INFO WARN WARN")
}

// A logger gets no records below its level.
func TestLogOfDisabledLevels(t *testing.T) {
	for level, records := range map[slog.Level]int{
		slog.LevelDebug: 3, slog.LevelInfo: 2, slog.LevelWarn: 2, slog.LevelError: 1, slog.LevelError + 1: 0,
	} {
		var h countingHandler
		h.level = level
		m := newSource(t).message("body")
		mw := middleware.Log(slog.New(&h))
		_ = run(m, mw, answer(nil))
		_ = run(m, mw, answer(errBusy))
		_ = run(m, mw, panicking("boom"))
		check.Want(t, "records at "+level.String(), h.handled, records)
	}
}

type countingHandler struct {
	level   slog.Level
	handled int
	ctx     context.Context
}

func (h *countingHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }
func (h *countingHandler) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h *countingHandler) WithGroup(string) slog.Handler                { return h }

func (h *countingHandler) Handle(ctx context.Context, _ slog.Record) error {
	h.handled++
	h.ctx = ctx
	return nil
}

func TestLogWithTheHandlersContext(t *testing.T) {
	var h countingHandler
	m := newSource(t).message("body")
	_ = run(m, middleware.Log(slog.New(&h)), answer(errBusy))
	check.Want(t, "message in the record's context", handler.FromContext(h.ctx), m)
}

func TestLogWithoutRecordAllocatesNothing(t *testing.T) {
	m := newSource(t).message("body")
	ctx := m.Context()
	success, failure := answer(nil), answer(errBusy)
	for name, c := range map[string]struct {
		level slog.Level
		fn    handler.Raw
	}{
		"success below the level": {slog.LevelInfo, success},
		"nothing wanted, success": {slog.LevelError + 1, success},
		"nothing wanted, failure": {slog.LevelError + 1, failure},
		"failure below the level": {slog.LevelError, failure},
	} {
		logger, _ := records(t, c.level)
		h := middleware.Log(logger)(c.fn)
		wantNoAllocs(t, name, func() { _ = h(ctx, m) })
	}
}

func TestLogGoexit(t *testing.T) {
	logger, written := records(t, slog.LevelDebug)
	m := newSource(t).message("body")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = run(m, middleware.Log(logger), func(context.Context, *handler.Message) error {
			runtime.Goexit()
			return nil
		})
	}()
	<-done
	check.Want(t, "records of a handler that never answered", len(written()), 0)
}

// TestLogPanics: a logger that panics loses the record; the answer of the handler stays, and a
// message that was handled is not handled again.
func TestLogPanics(t *testing.T) {
	for name, h := range map[string]panickingHandler{"Handle": {inHandle: true}, "Enabled": {inEnabled: true}} {
		for _, err := range []error{nil, errBusy} {
			runs := 0
			got := run(newSource(t).message("body"), middleware.Log(slog.New(h)), func(context.Context, *handler.Message) error {
				runs++
				return err
			})
			check.WantErr(t, name, got, err)
			check.Want(t, "runs", runs, 1)
		}
	}
}

type panickingHandler struct{ inHandle, inEnabled bool }

func (h panickingHandler) Enabled(context.Context, slog.Level) bool {
	if h.inEnabled {
		panic("Enabled")
	}
	return true
}

func (h panickingHandler) Handle(context.Context, slog.Record) error { panic("Handle") }

func (h panickingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h panickingHandler) WithGroup(string) slog.Handler { return h }

func TestLogDefaultLogger(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	logger, written := records(t, slog.LevelDebug)
	slog.SetDefault(logger)
	mw := middleware.Log(nil)
	slog.SetDefault(before)
	_ = run(newSource(t).message("body"), mw, answer(errBusy))
	check.Want(t, "records", len(written()), 1)
}
