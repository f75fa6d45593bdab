package test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
)

// lateTelemetry fails after a publish has returned.
type lateTelemetry struct {
	observe.NoTelemetry
	fail func()
}

func (l lateTelemetry) Producer(observe.ProducerInfo) handler.SendMiddleware {
	return func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			err := next(ctx, out)
			l.fail()
			return errors.Join(err, errOther)
		}
	}
}

// TestConfirmedOnce: what nsqd has confirmed, a dead letter or a redriven message, is not published
// again, whatever user code does before the FIN.
func TestConfirmedOnce(t *testing.T) {
	late := func(fail func()) nsqx.Option { return nsqx.WithTelemetry(lateTelemetry{fail: fail}) }
	logger := func(fail func()) nsqx.Option {
		log := &logbook{onRecord: func(r slog.Record) {
			if r.Level >= slog.LevelWarn {
				fail()
			}
		}}
		return nsqx.WithLogger(slog.New(log))
	}
	panics := func() { panic(errOther) }
	for name, opt := range map[string]nsqx.Option{
		"a logger that panics": logger(panics), "a logger that exits": logger(runtime.Goexit),
		"telemetry that fails": late(func() {}), "telemetry that panics": late(panics), "telemetry that exits": late(runtime.Goexit),
	} {
		logged := nsqx.WithLogger(discard)
		if strings.HasPrefix(name, "a logger") {
			logged = nil
		}
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
			c, err := nsqx.NewConsumer("orders", "billing", codec.String(), alwaysFails, s.Option(), dead, nsqx.WithRetry(seconds), opt, logged)
			wantErr(t, "consumer", err, nil)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- c.Run(ctx) }()
			publish(s, 3)
			time.Sleep(10 * time.Minute)
			want(t, "dead letters", len(s.Published("dead")), 3)
			want(t, "finished", billing(s).Finished, 3)
			want(t, "counted", c.Stats().DeadLettered, 3)
			cancel()
			wantErr(t, "Run", <-ended, nil)
			report, err := nsqx.Redrive(t.Context(), "dead", "", s.Option(), opt, logged)
			want(t, "report", report, nsqx.RedriveReport{Redriven: 3})
			wantErr(t, "error", err, nil)
			want(t, "published", len(s.Published("orders")), 3)
		})
	}
	bubble(t, "no dead letter, and a logger that exits", func(t *testing.T) { // it is dropped once
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		c, err := nsqx.NewConsumer("orders", "billing", codec.String(), alwaysFails, s.Option(), nsqx.WithRetry(seconds), logger(runtime.Goexit))
		wantErr(t, "consumer", err, nil)
		nsqxtest.Run(t, c)
		publish(s, 3)
		time.Sleep(10 * time.Minute)
		want(t, "dropped", c.Stats().Dropped, 3)
		want(t, "requeued", billing(s).Requeued, 0)
	})
	bubble(t, "not confirmed, and a logger that exits", func(t *testing.T) { // the workers do not spin
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		onPublish(always(nsqxtest.Fail("E_UNAUTHORIZED no")), s)
		c, err := nsqx.NewConsumer("orders", "billing", codec.String(), alwaysFails, s.Option(), dead, nsqx.WithRetry(seconds), logger(runtime.Goexit))
		wantErr(t, "consumer", err, nil)
		nsqxtest.Run(t, c)
		publish(s, 3)
		time.Sleep(time.Minute)
		want(t, "given up", c.Stats().DeadLettered+c.Stats().Dropped, 0)
		if n := billing(s).Requeued; n < 3 || n > 60 {
			t.Errorf("requeued %d times", n)
		}
	})
}

// swallowing is telemetry that does not call next for what is published.
type swallowing struct{ observe.NoTelemetry }

func (swallowing) Producer(observe.ProducerInfo) handler.SendMiddleware {
	return func(handler.Send) handler.Send {
		return func(context.Context, *handler.Outgoing) error { return nil }
	}
}

// TestNotPublished: a message whose telemetry says that it was published, though it was not, is not
// finished: neither one that was given up, nor a dead letter that is redriven.
func TestNotPublished(t *testing.T) {
	bubble(t, "given up", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		c, err := nsqx.NewConsumer("orders", "billing", codec.String(), alwaysFails, s.Option(), dead, nsqx.WithRetry(seconds),
			nsqx.WithTelemetry(swallowing{}), nsqx.WithLogger(discard))
		wantErr(t, "consumer", err, nil)
		nsqxtest.Run(t, c)
		publish(s, 3)
		time.Sleep(time.Minute)
		want(t, "given up", c.Stats().DeadLettered+c.Stats().Dropped, 0)
		want(t, "finished", billing(s).Finished, 0)
	})
	bubble(t, "redriven", func(t *testing.T) {
		s := newRedriveServer(t)
		s.Publish("dead", deadLetters(3)...)
		report, _ := nsqx.Redrive(t.Context(), "dead", "", s.Option(), nsqx.WithTelemetry(swallowing{}), nsqx.WithLogger(discard))
		want(t, "redriven", report.Redriven, 0)
		want(t, "failed", report.Failed > 0, true)
		want(t, "finished", s.Stats("dead", "redrive").Finished, 0)
	})
}
