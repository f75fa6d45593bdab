package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/nsqxtest"
)

// importFile is the handler.
func importFile(ctx context.Context, name string) error {
	if _, limited := ctx.Deadline(); !limited {
		return errors.New("no time limit")
	}
	if name == "" {
		return errors.New("no file name")
	}
	fmt.Println("importing", name)
	return nil
}

// isRetry matches messages that were delivered before.
func isRetry(m *handler.Message) bool { return m.Attempts > 1 }

// announce is middleware of your own.
func announce(next handler.Raw) handler.Raw {
	return func(ctx context.Context, m *handler.Message) error {
		fmt.Println("attempt", m.Attempts)
		return next(ctx, m)
	}
}

// A consumer with all of the middleware. Process plays one message through it without an nsqd; a
// service calls Run.
func Example() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "duration_seconds" { // they differ from run to run
				return slog.Attr{}
			}
			return a
		},
	}))
	consumer, err := nsqx.NewConsumer("files", "import", codec.String(), importFile,
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithMiddleware(
			middleware.Log(logger, middleware.SuccessLevel(slog.LevelInfo)),
			middleware.Timeout(10*time.Minute),
			middleware.AutoTouch(),
			middleware.Only(isRetry, announce),
		),
	)
	if err != nil {
		fmt.Println(err)
		return
	}

	for _, m := range []*handler.Message{
		nsqxtest.Message([]byte("a.csv"), nsqxtest.WithTopic("files", "import")),
		nsqxtest.Message(nil, nsqxtest.WithTopic("files", "import"), nsqxtest.WithAttempts(2)),
	} {
		out := consumer.Process(m.Context(), m)
		fmt.Println(out.Disposition)
	}
	// Output:
	// importing a.csv
	// level=INFO msg="message handled" topic=files channel=import nsqd="" msg.id=0000000000000001 msg.attempts=1
	// finish
	// attempt 2
	// level=WARN msg="message failed" topic=files channel=import nsqd="" msg.id=0000000000000001 msg.attempts=2 error="no file name"
	// requeue
}
