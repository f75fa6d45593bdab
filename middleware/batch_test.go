package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/retry"
)

// runBatch calls mw and fn as a consumer does, with messages that have these bodies.
func runBatch(t *testing.T, mw handler.BatchMiddleware, fn handler.BatchFunc[int], bodies ...string) error {
	s := newSource(t)
	var msgs []*handler.Message
	for _, body := range bodies {
		msgs = append(msgs, s.message(body))
	}
	return mw(handler.TypedBatch(codec.JSON[int](), fn))(context.Background(), msgs)
}

func answerBatch(err error) handler.BatchFunc[int] {
	return func(context.Context, *handler.Batch[int]) error { return err }
}

// TestLogBatch: a record for the batch, and one for each item that has an answer of its own.
func TestLogBatch(t *testing.T) {
	for name, c := range map[string]struct {
		fn   handler.BatchFunc[int]
		want string
	}{
		"success":  {answerBatch(nil), "DEBUG batch handled 0 <nil> <nil>"},
		"failure":  {answerBatch(errBusy), "WARN batch failed 0 busy <nil>"},
		"deferral": {answerBatch(retry.After(time.Minute, nil)), "DEBUG batch deferred 0 <nil> 60"},
		"panic":    {func(context.Context, *handler.Batch[int]) error { panic("boom") }, "ERROR handler panicked 0 nsqx: panic: boom <nil>"},
		"items": {func(_ context.Context, b *handler.Batch[int]) error {
			_ = b.Fail(0, errBusy)
			_ = b.Fail(2, retry.After(time.Second, nil))
			return nil
		}, "WARN message failed <nil> busy <nil>, DEBUG message deferred <nil> <nil> 1, DEBUG batch handled 2 <nil> <nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, written := records(t, slog.LevelDebug)
				slow := func(ctx context.Context, b *handler.Batch[int]) error {
					time.Sleep(1500 * time.Millisecond)
					return c.fn(ctx, b)
				}
				_ = runBatch(t, middleware.LogBatch(logger), slow, "1", "2", "3")
				var got []string
				for _, r := range written() {
					got = append(got, fmt.Sprint(r["level"], " ", r["msg"], " ", r["answered"], " ", r["error"], " ", r["delay_seconds"]))
					check.Want(t, "topic", r["topic"], any("orders"))
					check.Want(t, "channel", r["channel"], any("billing"))
					check.Want(t, "duration", r["duration_seconds"], any(1.5))
					if r["msg.id"] == nil {
						check.Want(t, "messages", r["messages"], any(3.0))
					}
				}
				check.Want(t, "records", strings.Join(got, ", "), c.want)
			})
		})
	}
}

// TestLogBatchDecode: an item that does not decode has a record of its own.
func TestLogBatchDecode(t *testing.T) {
	logger, written := records(t, slog.LevelDebug)
	_ = runBatch(t, middleware.LogBatch(logger), answerBatch(nil), "1", "x")
	all := written()
	if len(all) != 2 || all[0]["msg"] != "message failed" || all[1]["messages"] != 2.0 || all[1]["answered"] != 1.0 {
		t.Errorf("got %v", all)
	}
}

// TestLogBatchPassesAnswersOn: whatever the logger does.
func TestLogBatchPassesAnswersOn(t *testing.T) {
	quiet, _ := records(t, slog.LevelError+1)
	loud, _ := records(t, slog.LevelDebug)
	for _, logger := range []*slog.Logger{quiet, loud, slog.New(panickingHandler{inHandle: true}), slog.New(panickingHandler{inEnabled: true})} {
		check.WantErr(t, "success", runBatch(t, middleware.LogBatch(logger), answerBatch(nil), "1"), nil)
		check.WantErr(t, "failure", runBatch(t, middleware.LogBatch(logger), answerBatch(errBusy), "1"), errBusy)
		err := runBatch(t, middleware.LogBatch(logger), func(context.Context, *handler.Batch[int]) error { panic("boom") }, "1")
		if _, ok := errors.AsType[*handler.PanicError](err); !ok {
			t.Errorf("panic: got %v", err)
		}
	}
}

// TestTimeoutBatch: the time is that of the whole batch.
func TestTimeoutBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		err := runBatch(t, middleware.TimeoutBatch(time.Second), func(ctx context.Context, _ *handler.Batch[int]) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}, "1", "2")
		check.WantErr(t, "cause", err, middleware.ErrTimeout)
		check.Want(t, "took", time.Since(start), time.Second)
	})
}
