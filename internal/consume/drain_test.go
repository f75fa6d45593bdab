package consume

import (
	"context"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/observe"
)

// delivering plays an nsqd that delivers one message. It answers CLS, and sends another message
// some time after the answer if late is above 0.
func delivering(late time.Duration) func(p *fake.Peer) {
	return func(p *fake.Peer) {
		p.Subscribe(nil)
		p.Expect("RDY")
		p.Message(fake.ID(1), 1, []byte("x"))
		for {
			cmd, err := p.Next()
			switch {
			case err != nil:
				return
			case cmd.Name == "CLS":
				p.Response("CLOSE_WAIT")
				if late > 0 {
					time.Sleep(late)
					p.Message(fake.ID(2), 1, []byte("x"))
				}
			}
		}
	}
}

// TestDrain: how long a drain takes, and what it reports, by what nsqd and the handler do.
func TestDrain(t *testing.T) {
	hang := func(context.Context, *handler.Message) error { time.Sleep(time.Hour); return nil }
	for name, tt := range map[string]struct {
		script  func(*fake.Peer) // nil: no nsqd
		raw     handler.Raw
		hook    bool // that hangs
		timeout time.Duration

		took time.Duration
		want observe.ShutdownError // the lengths of its lists count
	}{
		"no nsqd":      {timeout: 20 * time.Second},
		"idle":         {script: serve(false), timeout: 20 * time.Second, took: lateTime},
		"silent":       {script: serve(true), timeout: 20 * time.Second, took: answerTime + closeWaitTimeout},
		"silent, soon": {script: serve(true), timeout: time.Second, took: time.Second + closeWaitTimeout},
		"handled": {
			script: delivering(0), raw: func(context.Context, *handler.Message) error { time.Sleep(3 * time.Second); return nil },
			timeout: 20 * time.Second, took: 3*time.Second + lateTime,
		},
		"respects its context": {
			script: delivering(0), raw: func(ctx context.Context, _ *handler.Message) error { <-ctx.Done(); return context.Cause(ctx) },
			timeout: 5 * time.Second, took: 5*time.Second + lateTime,
		},
		"hangs": {
			script: delivering(0), raw: hang, timeout: 5 * time.Second, took: 5*time.Second + grace + lateTime + 100*time.Millisecond,
			want: observe.ShutdownError{Abandoned: make([]observe.Abandoned, 1), Running: 1},
		},
		"hangs, at once": {
			script: delivering(0), raw: hang, took: lateTime + grace,
			want: observe.ShutdownError{Abandoned: make([]observe.Abandoned, 1), Running: 1},
		},
		"another message": {script: delivering(lateTime / 2), timeout: 20 * time.Second, took: lateTime},
		"hook hangs": {
			script: serve(false), hook: true, timeout: 5 * time.Second, took: 5*time.Second + overtime,
			want: observe.ShutdownError{HookRuns: true},
		},
		"nsqd closes nothing": {
			script: func(p *fake.Peer) {
				p.Subscribe(nil)
				p.HalfClosed()
				time.Sleep(time.Minute)
			},
			timeout: time.Second, took: time.Second + closeWaitTimeout + 500*time.Millisecond,
			want: observe.ShutdownError{Unconfirmed: make([]error, 1)},
		},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			r := run(t, newConsumer(t, &records{}, func(cfg *Config) {
				cfg.ShutdownTimeout = tt.timeout
				if tt.script != nil {
					cfg.NSQDs, cfg.Conn.DialContext = []string{addrA}, fake.NewNetwork(t, tt.script).DialContext
				}
				if tt.hook {
					cfg.Hooks = []observe.Hooks{{OnConnect: func(observe.ConnEvent) { time.Sleep(time.Hour) }}}
				}
			}, tt.raw))
			synctest.Wait()
			start := time.Now()
			err := r.stop()
			check.Want(t, "time", time.Since(start), tt.took)
			if tt.want.Empty() {
				check.WantErr(t, "Run", err, nil)
			} else {
				e := wantShutdown(t, err)
				check.Want(t, "abandoned", len(e.Abandoned), len(tt.want.Abandoned))
				check.Want(t, "unanswered", len(e.Unanswered), len(tt.want.Unanswered))
				check.Want(t, "unconfirmed", len(e.Unconfirmed), len(tt.want.Unconfirmed))
				check.Want(t, "running", e.Running, tt.want.Running)
				check.Want(t, "hook runs", e.HookRuns, tt.want.HookRuns)
				for _, a := range e.Abandoned {
					check.Want(t, "requeued", a.Requeued, true)
				}
				for _, err := range e.Unconfirmed {
					check.WantErr(t, "unconfirmed", err, conn.ErrNotConfirmed)
				}
			}
			time.Sleep(2 * time.Hour) // what hangs returns
		})
	}
}

// TestNewAbandoned: every field is that of the message.
func TestNewAbandoned(t *testing.T) {
	d := newSource(t).delivery(3, "x")
	got := newAbandoned(d, true)
	check.Want(t, "abandoned", got, observe.Abandoned{
		NSQD: addrA, Topic: "orders", Channel: "billing", ID: handler.ID([]byte("0123456789abcdef")), Attempts: 3, Requeued: true,
	})
	for f, v := range reflect.ValueOf(got).Fields() {
		check.Want(t, f.Name+" is zero", v.IsZero(), false)
	}
	check.Want(t, "requeued", newAbandoned(d, false).Requeued, false)
}
