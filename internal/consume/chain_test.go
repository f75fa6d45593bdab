package consume

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/observe"
)

// telemetry is a Telemetry with middleware around the chain, and around dead letters.
type telemetry struct {
	observe.NoTelemetry
	middleware handler.Middleware
	send       handler.SendMiddleware
	consumer   observe.ConsumerInfo
	producer   observe.ProducerInfo
}

func (t *telemetry) Consumer(info observe.ConsumerInfo) handler.Middleware {
	t.consumer = info
	return t.middleware
}

func (t *telemetry) Producer(info observe.ProducerInfo) handler.SendMiddleware {
	t.producer = info
	return t.send
}

// step returns middleware that adds its name, and the message's disposition afterwards.
func step(calls *check.Synced[string], name string) handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			calls.Add(name)
			defer func() { calls.Add("/" + name + " " + m.Outcome().Disposition.String()) }()
			return next(ctx, m)
		}
	}
}

// TestChainOrder: telemetry sees the decision, and the user's middleware does not yet.
func TestChainOrder(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var calls check.Synced[string]
		tel := &telemetry{middleware: step(&calls, "telemetry")}
		c := newConsumer(t, &records{}, func(cfg *Config) {
			cfg.Telemetry, cfg.Conn.ClientID, cfg.MaxAttempts = tel, "me", 7
			cfg.Middleware = []handler.Middleware{step(&calls, "first"), nil, step(&calls, "second")}
			cfg.GiveUp = DeadLetterTopic{Topic: "dead"}
			cfg.Hooks = []observe.Hooks{{OnSettle: func(*handler.Message) { calls.Add("settled") }}}
		}, func(context.Context, *handler.Message) error { calls.Add("handler"); return nil })
		out := c.Process(t.Context(), newSource(t).delivery(1, "x").Message())
		wantOutcome(t, out, handler.Finish, 0, nil)
		check.Want(t, "calls", strings.Join(calls.All(), ", "),
			"telemetry, first, second, handler, /second pending, /first pending, /telemetry finish, settled")
		check.Want(t, "consumer", tel.consumer,
			observe.ConsumerInfo{Topic: "orders", Channel: "billing", ClientID: "me", Concurrency: 2, MaxAttempts: 7})
		check.Want(t, "producer of dead letters", tel.producer, observe.ProducerInfo{Topic: "dead", ClientID: "me/dead-letters"})
	})
}

// TestTelemetryOfDeadLetters: only a dead letter topic has a producer.
func TestTelemetryOfDeadLetters(t *testing.T) {
	for _, giveUp := range []GiveUp{nil, Unset{}, Discard{}, DeadLetterFunc(func(context.Context, *handler.Message, error) error { return nil })} {
		tel := &telemetry{}
		newConsumer(t, &records{}, func(cfg *Config) { cfg.Telemetry, cfg.GiveUp = tel, giveUp }, nil)
		check.Want(t, "producer", tel.producer, observe.ProducerInfo{})
	}
}

// TestChainPanics: wherever a step panics or ends early, the message has an outcome.
func TestChainPanics(t *testing.T) {
	before := func(handler.Raw) handler.Raw {
		return func(context.Context, *handler.Message) error { panic(errPanic) }
	}
	after := func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error { _ = next(ctx, m); panic(errPanic) }
	}
	skips := func(handler.Raw) handler.Raw {
		return func(context.Context, *handler.Message) error { return nil }
	}
	panics := func(context.Context, *handler.Message) error { panic(errPanic) }
	for name, tt := range map[string]struct {
		telemetry, middleware handler.Middleware
		raw                   handler.Raw
		want                  handler.Disposition
		err                   error
		logs                  int
	}{
		"handler":                    {nil, nil, panics, handler.Requeue, errPanic, 1},
		"middleware before":          {nil, before, nil, handler.Requeue, errPanic, 1},
		"middleware after":           {nil, after, nil, handler.Requeue, errPanic, 1},
		"middleware skips":           {nil, skips, panics, handler.Finish, nil, 0},
		"telemetry before":           {before, nil, nil, handler.Requeue, errPanic, 1},
		"telemetry after":            {after, nil, nil, handler.Finish, nil, 1},
		"telemetry skips":            {skips, nil, nil, handler.Requeue, errUnsettled, 1},
		"telemetry after, a failure": {after, nil, panics, handler.Requeue, errPanic, 2},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			log, settled := &records{}, 0
			c := newConsumer(t, log, func(cfg *Config) {
				cfg.Telemetry = &telemetry{middleware: tt.telemetry}
				if tt.middleware != nil {
					cfg.Middleware = []handler.Middleware{tt.middleware}
				}
				cfg.Hooks = []observe.Hooks{{OnSettle: func(*handler.Message) { settled++ }}}
			}, tt.raw)
			d := newSource(t).delivery(1, "x")
			out := c.process(d)
			check.Want(t, "disposition", out.Disposition, tt.want)
			check.WantErr(t, "error", out.Err, tt.err)
			check.Want(t, "outcome of the message", d.Outcome().Disposition, tt.want)
			check.Want(t, "records", log.Len(), tt.logs)
			check.Want(t, "settled", settled, 1)
		})
	}
}

// TestRescue: the outcome of a message whose chain ended by runtime.Goexit. A decision stays.
func TestRescue(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		settled := 0
		c := newConsumer(t, &records{}, func(cfg *Config) {
			cfg.Hooks = []observe.Hooks{{OnSettle: func(*handler.Message) { settled++ }}}
		}, func(context.Context, *handler.Message) error { runtime.Goexit(); return nil })
		d := newSource(t).delivery(1, "x")
		err := guard.Isolate(func() { c.process(d) })
		check.WantErr(t, "error", err, guard.ErrGoexit)
		check.Want(t, "before", d.Outcome().Disposition, handler.Pending)
		wantOutcome(t, c.rescue(d, err), handler.Requeue, fallbackDelay, guard.ErrGoexit)
		wantOutcome(t, d.Outcome(), handler.Requeue, fallbackDelay, guard.ErrGoexit)
		check.Want(t, "settled", settled, 1)
		wantOutcome(t, c.rescue(d, errFailed), handler.Requeue, fallbackDelay, guard.ErrGoexit)
		check.Want(t, "settled", settled, 1)

		d = newSource(t).delivery(1, "x")
		d.SetOutcome(handler.Outcome{Disposition: handler.DeadLetter, Err: errFailed})
		wantOutcome(t, c.rescue(d, guard.ErrGoexit), handler.DeadLetter, 0, errFailed)
	})
}
