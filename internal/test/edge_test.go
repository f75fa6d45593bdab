package test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/retry"
)

// nilErr panics when it is walked as a nil pointer, as careless errors do.
type nilErr struct{ cause error }

func (e *nilErr) Error() string { return "careless" }
func (e *nilErr) Unwrap() error { return e.cause }

// TestCarelessErrors: an error whose methods panic is a failure like any other, whatever row it meets.
func TestCarelessErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		cause error
		want  handler.Disposition
	}{
		"running":       {nil, handler.Requeue},
		"shutting down": {handler.ErrShutdown, handler.Interrupted},
		"lost":          {handler.ErrConnLost, handler.Lost},
	} {
		bubble(t, name, func(t *testing.T) {
			d := newNSQDs(t)
			src := newSource(t)
			c := d.consumer(func(context.Context, string) error {
				if tt.cause != nil {
					src.end(tt.cause)
				}
				var e *nilErr
				return e
			})
			m := src.message(1, 0, "x")
			want(t, "disposition", c.Process(m.Context(), m).Disposition, tt.want)
		})
	}
}

// TestDecidingPanics: the telemetry knows the outcome even if the policy panics.
func TestDecidingPanics(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var seen handler.Outcome
		observe := &telemetry{middleware: func(next handler.Raw) handler.Raw {
			return func(ctx context.Context, m *handler.Message) error {
				err := next(ctx, m)
				seen = m.Outcome()
				return err
			}
		}}
		policy := retry.PolicyFunc(func(int, error) time.Duration { panic("boom") })
		d := newNSQDs(t)
		c := d.consumer(func(context.Context, string) error { return errBill }, nsqx.WithRetry(policy), nsqx.WithTelemetry(observe))
		out := c.Process(context.Background(), newSource(t).message(1, 0, "x"))
		want(t, "disposition", out.Disposition, handler.Requeue)
		want(t, "what the telemetry saw", seen.Disposition, handler.Requeue)
		want(t, "panics logged", d.log.count(slog.LevelError, "panic while handling"), 1)
	})
}

// TestFloodOfAnother: a connection that keeps to its RDY is not closed for one that does not. What it brings waits a
// second, since its RDY is open.
func TestFloodOfAnother(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t, nsqd1, nsqd2)
		s := d.run(func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}, nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(8), nsqx.WithShutdownTimeout(0))
		synctest.Wait()
		d.line(nsqd1).send(100) // is being handled
		synctest.Wait()
		d.line(nsqd1).flood(1, 4*8+2) // as much as may wait
		synctest.Wait()
		d.line(nsqd2).send(101, 102, 103)
		d.line(nsqd2).wantCommands("REQ", "REQ 65 1000, REQ 66 1000, REQ 67 1000")
		for _, c := range s.Stats().Connections {
			want(t, "connected to "+c.Addr, c.Connected, true)
		}
		d.line(nsqd1).flood(201, 4)
		synctest.Wait()
		c := s.Stats().Connections[0]
		want(t, "connected to the one that floods", c.Connected, false)
		if e, ok := errors.AsType[*conn.Error](c.LastErr); !ok || e.Addr != nsqd1 {
			t.Errorf("last error is %v", c.LastErr)
		}
	})
}

// TestUnanswered: what comes when nothing can be given back any more is left behind by id.
func TestUnanswered(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		d.on = onCLS(func(l *line) {
			l.say("CLOSE_WAIT")
			time.AfterFunc(orderly+time.Millisecond, func() { l.send(7) })
			time.Sleep(100 * time.Millisecond) // does not see the half-close before
		})
		s := d.run(done)
		synctest.Wait()
		_, err := s.stop()
		e, ok := errors.AsType[*nsqx.ShutdownError](err)
		if !ok || len(e.Unanswered) != 1 || e.Unanswered[0].ID.String() != fake.ID(7) || e.Unanswered[0].Requeued {
			t.Fatalf("Run returned %v, want message %s unanswered", err, fake.ID(7))
		}
		want(t, "text", err.Error(),
			"nsqx: shutdown incomplete; 1 messages of orders/billing came too late to be given back, 0000000000000007@nsqd-1:4150")
	})
}
