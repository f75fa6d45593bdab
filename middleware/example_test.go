package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/nsqxtest"
)

func ExampleRecover() {
	h := middleware.Recover()(func(context.Context, *handler.Message) error {
		panic("no such customer")
	})

	err := h(context.Background(), new(handler.Message))
	var p *handler.PanicError
	fmt.Println(err)
	fmt.Println("has its stack:", errors.As(err, &p) && len(p.Stack) > 0)
	// Output:
	// nsqx: panic: no such customer
	// has its stack: true
}

// A report may take longer than the message timeout, which is 60 s by default, but at most ten
// minutes: then its context ends.
func ExampleAutoTouch() {
	report := func(ctx context.Context, _ *handler.Message) error {
		_, limited := ctx.Deadline()
		fmt.Println("limited:", limited)
		return nil
	}

	h := handler.Chain(
		middleware.Timeout(10*time.Minute),
		middleware.AutoTouch(),
	)(report)
	fmt.Println(h(context.Background(), new(handler.Message)))
	// Output:
	// limited: true
	// <nil>
}

func ExampleTimeout() {
	h := middleware.Timeout(10 * time.Millisecond)(func(ctx context.Context, _ *handler.Message) error {
		select {
		case <-time.After(time.Hour):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})

	err := h(context.Background(), new(handler.Message))
	fmt.Println(err)
	fmt.Println(errors.Is(err, middleware.ErrTimeout), errors.Is(err, context.DeadlineExceeded))
	// Output:
	// nsqx: handler timeout
	// true true
}

func ExampleLog() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "duration_seconds" { // they differ from run to run
				return slog.Attr{}
			}
			return a
		},
	}))
	h := middleware.Log(logger)(func(_ context.Context, m *handler.Message) error {
		switch m.Attempts {
		case 1:
			return errors.New("database is away")
		case 2:
			panic("boom")
		}
		return nil // logged at level Debug
	})

	for attempt := range uint16(3) {
		m := nsqxtest.Message([]byte("a"), nsqxtest.WithTopic("orders", "billing"), nsqxtest.WithAttempts(attempt+1))
		_ = h(m.Context(), m)
	}
	// Output:
	// level=WARN msg="message failed" topic=orders channel=billing nsqd="" msg.id=0000000000000001 msg.attempts=1 error="database is away"
	// level=ERROR msg="handler panicked" topic=orders channel=billing nsqd="" msg.id=0000000000000001 msg.attempts=2 error="nsqx: panic: boom"
}

// Every message is logged. Failures, which are retried anyway, have the same level.
func ExampleSuccessLevel() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "duration_seconds" { // they differ from run to run
				return slog.Attr{}
			}
			return a
		},
	}))
	mw := middleware.Log(logger,
		middleware.SuccessLevel(slog.LevelInfo),
		middleware.FailureLevel(slog.LevelInfo),
	)
	h := mw(func(context.Context, *handler.Message) error { return nil })

	m := nsqxtest.Message([]byte("a"), nsqxtest.WithTopic("orders", "billing"))
	_ = h(m.Context(), m)
	// Output:
	// level=INFO msg="message handled" topic=orders channel=billing nsqd="" msg.id=0000000000000001 msg.attempts=1
}

// Failures, which are retried anyway, are not logged.
func ExampleFailureLevel() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "duration_seconds" { // they differ from run to run
				return slog.Attr{}
			}
			return a
		},
	})) // its level is Info
	mw := middleware.Log(logger, middleware.FailureLevel(slog.LevelDebug))
	h := mw(func(_ context.Context, m *handler.Message) error {
		if m.Attempts < 2 {
			return errors.New("database is away")
		}
		panic("boom")
	})

	for attempt := range uint16(2) {
		m := nsqxtest.Message([]byte("a"), nsqxtest.WithTopic("orders", "billing"), nsqxtest.WithAttempts(attempt+1))
		_ = h(m.Context(), m)
	}
	// Output:
	// level=ERROR msg="handler panicked" topic=orders channel=billing nsqd="" msg.id=0000000000000001 msg.attempts=2 error="nsqx: panic: boom"
}

// A panic is logged at a level of its own, which an alert may look for.
func ExamplePanicLevel() {
	const alert = slog.LevelError + 4
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "duration_seconds" { // they differ from run to run
				return slog.Attr{}
			}
			return a
		},
	}))
	mw := middleware.Log(logger, middleware.PanicLevel(alert))
	h := mw(func(context.Context, *handler.Message) error { panic("boom") })

	m := nsqxtest.Message([]byte("a"), nsqxtest.WithTopic("orders", "billing"))
	_ = h(m.Context(), m)
	// Output:
	// level=ERROR+4 msg="handler panicked" topic=orders channel=billing nsqd="" msg.id=0000000000000001 msg.attempts=1 error="nsqx: panic: boom"
}

func ExampleOnly() {
	announce := func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			fmt.Println("again: attempt", m.Attempts)
			return next(ctx, m)
		}
	}
	again := func(m *handler.Message) bool { return m.Attempts > 1 }

	h := middleware.Only(again, announce)(func(context.Context, *handler.Message) error {
		fmt.Println("handling")
		return nil
	})
	_ = h(context.Background(), &handler.Message{Attempts: 1})
	_ = h(context.Background(), &handler.Message{Attempts: 2})
	// Output:
	// handling
	// again: attempt 2
	// handling
}
