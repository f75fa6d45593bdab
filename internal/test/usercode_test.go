package test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// TestPanics: wherever user code panics, the process continues, the message is settled, and the
// stack is logged.
func TestPanics(t *testing.T) {
	policy := nsqx.WithRetry(seconds)
	dead := nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error { return nil })
	tests := map[string]struct {
		opts     []nsqx.ConsumerOption
		decode   func([]byte) (string, error)
		handle   func() error
		attempts uint16

		want  handler.Disposition
		delay time.Duration
		logs  string
	}{
		"handler":               {opts: opts(policy), handle: func() error { panic(errOther) }, attempts: 2, want: handler.Requeue, delay: 2 * time.Second, logs: "panic while handling"},
		"handler, runtime":      {opts: opts(policy), handle: func() error { return []error(nil)[runtime.NumCPU()] }, attempts: 2, want: handler.Requeue, delay: 2 * time.Second, logs: "panic while handling"},
		"handler, nil":          {opts: opts(policy), handle: func() error { panic(nil) }, attempts: 2, want: handler.Requeue, delay: 2 * time.Second, logs: "panic while handling"},
		"handler, last attempt": {opts: opts(policy, dead, max3), handle: func() error { panic(errOther) }, attempts: 3, want: handler.DeadLetter, logs: "panic while handling"},
		"handler, a marker":     {opts: opts(policy, dead), handle: func() error { panic(retry.Permanent(errOther)) }, attempts: 1, want: handler.DeadLetter, logs: "panic while handling"},
		"middleware before":     {opts: opts(policy, nsqx.WithMiddleware(panics("before"))), attempts: 2, want: handler.Requeue, delay: 2 * time.Second, logs: "panic while handling"},
		"middleware after":      {opts: opts(policy, nsqx.WithMiddleware(panics("after"))), attempts: 2, want: handler.Requeue, delay: 2 * time.Second, logs: "panic while handling"},
		"codec":                 {opts: opts(policy), decode: func([]byte) (string, error) { panic(errOther) }, attempts: 2, want: handler.Requeue, delay: 2 * time.Second, logs: "panic while handling"},
		"codec, with dead":      {opts: opts(policy, dead), decode: func([]byte) (string, error) { panic(errOther) }, attempts: 1, want: handler.DeadLetter, logs: "panic while handling"},
		"policy":                {opts: opts(nsqx.WithRetry(retry.PolicyFunc(func(int, error) time.Duration { panic(errOther) }))), handle: failing, attempts: 1, want: handler.Requeue, delay: 10 * time.Second, logs: "panic while handling"},
		"mapping":               {opts: opts(policy, nsqx.WithErrors(func(error) error { panic(errOther) })), handle: failing, attempts: 1, want: handler.Requeue, delay: 10 * time.Second, logs: "panic while handling"},
		"dead letter func":      {opts: opts(policy, nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error { panic(errOther) }), max3), handle: failing, attempts: 9, want: handler.Requeue, delay: 10 * time.Second, logs: "panic while handling"},
		"telemetry before":      {opts: opts(policy, nsqx.WithTelemetry(&telemetry{middleware: panics("before")})), attempts: 1, want: handler.Requeue, delay: 10 * time.Second, logs: "panic while handling"},
		"telemetry after":       {opts: opts(policy, nsqx.WithTelemetry(&telemetry{middleware: panics("after")})), attempts: 1, want: handler.Finish, logs: "panic while handling"},
		"telemetry, a fault":    {opts: opts(policy, nsqx.WithTelemetry(&telemetry{middleware: panics("after")})), handle: failing, attempts: 2, want: handler.Requeue, delay: 2 * time.Second, logs: "panic while handling"},
		"hook":                  {opts: opts(policy, nsqx.WithHooks(panickingHook)), attempts: 1, want: handler.Finish, logs: "hook panicked"},
		"panicking, then nil":   {opts: opts(policy, nsqx.WithMiddleware(returning(nil))), handle: func() error { panic(errOther) }, attempts: 1, want: handler.Finish},
	}
	for name, tt := range tests {
		bubble(t, name, func(t *testing.T) {
			if tt.decode == nil {
				tt.decode = func(b []byte) (string, error) { return string(b), nil }
			}
			if tt.handle == nil {
				tt.handle = func() error { return nil }
			}
			var log logbook
			var stacks synced[string]
			log.onRecord = func(r slog.Record) {
				r.Attrs(func(a slog.Attr) bool {
					if a.Key == "stack" {
						stacks.add(r.Message + "\n" + a.Value.String())
					}
					return true
				})
			}
			c, err := nsqx.NewConsumer("orders", "billing",
				codec.Func(func(dst []byte, s string) ([]byte, error) { return append(dst, s...), nil }, tt.decode),
				func(context.Context, string) error { return tt.handle() },
				append(tt.opts, nsqx.WithNSQD(nsqd1), nsqx.WithLogger(slog.New(&log)))...)
			if err != nil {
				t.Fatal(err)
			}
			out := c.Process(context.Background(), newSource(t).message(tt.attempts, 0, "x"))
			if out.Disposition != tt.want || out.Delay != tt.delay {
				t.Errorf("outcome is %v after %v, want %v after %v (%v)", out.Disposition, out.Delay, tt.want, tt.delay, out.Err)
			}
			if (out.Err == nil) != (tt.want == handler.Finish) {
				t.Errorf("the outcome's error is %v", out.Err)
			}
			got := stacks.all()
			if tt.logs == "" {
				want(t, "stacks logged", len(got), 0)
				return
			}
			if len(got) != 1 || !strings.Contains(got[0], tt.logs) || !strings.Contains(got[0], "usercode_test.go") {
				t.Errorf("logged with a stack: %q, want one %q", got, tt.logs)
			}
		})
	}
}

// TestPanicError: middleware, policy and outcome get a panic as a PanicError.
func TestPanicError(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var seen error
		watch := func(next handler.Raw) handler.Raw {
			return func(ctx context.Context, m *handler.Message) error {
				seen = next(ctx, m)
				return seen
			}
		}
		c := newConsumer(t, func(context.Context, string) error { panic(errOther) }, nsqx.WithNSQD(nsqd1), nsqx.WithMiddleware(watch))
		out := c.Process(context.Background(), newSource(t).message(1, 0, "x"))
		for _, err := range []error{seen, out.Err} {
			p, ok := errors.AsType[*handler.PanicError](err)
			if !ok || p.Value != errOther || !errors.Is(err, errOther) || !strings.Contains(string(p.Stack), "TestPanicError") {
				t.Errorf("error is %v", err)
			}
		}
	})
}

// TestGoexit: a handler that calls runtime.Goexit has failed, and its worker is replaced.
func TestGoexit(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		settled := &settleEvents{}
		running, most := 0, 0
		var mu synced[int] // for its lock
		s := d.run(func(_ context.Context, body string) error {
			if body == "exit" {
				runtime.Goexit()
			}
			mu.mu.Lock()
			running++
			most = max(most, running)
			mu.mu.Unlock()
			time.Sleep(time.Second)
			mu.mu.Lock()
			running--
			mu.mu.Unlock()
			return nil
		}, nsqx.WithConcurrency(3), nsqx.WithRetry(seconds), nsqx.WithHooks(settled.hooks()))
		l := d.line(nsqd1)
		for id := uint64(1); id <= 5; id++ {
			l.sendAs(id, 1, "exit")
		}
		want(t, "requeued", len(l.commands("REQ")), 5)
		l.send(6, 7, 8, 9, 10, 11)
		time.Sleep(2 * time.Second)
		finished := l.commands("FIN")
		slices.Sort(finished)
		want(t, "finished", strings.Join(finished, ", "), "FIN 6, FIN 7, FIN 8, FIN 9, FIN a, FIN b")
		want(t, "most at once", most, 3)
		stats := s.Stats()
		want(t, "counted as requeued", stats.Requeued, 5)
		want(t, "settled by the hook", len(settled.all()), 11)
		want(t, "counted as finished", stats.Finished, 6)
		want(t, "running", stats.Running, 0)
		for _, cmd := range l.commands("REQ") {
			if !strings.HasSuffix(cmd, " 10000") {
				t.Errorf("answer %q, want a delay of 10 s", cmd)
			}
		}
		s.wantStop(closeTime)
	})
}

// TestGoexitInDeadLetterFunc: the dead letter is not confirmed.
func TestGoexitInDeadLetterFunc(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		fn := func(context.Context, *handler.Message, error) error { runtime.Goexit(); return nil }
		s := d.run(alwaysFails, nsqx.WithDeadLetterFunc(fn), nsqx.WithConcurrency(1))
		l := d.line(nsqd1)
		l.send(1, 2)
		l.wantCommands("FIN REQ", "REQ 1 10000, REQ 2 10000")
		s.wantStop(closeTime)
	})
}

// TestGoexitAfterOutcome: an outcome that is decided stays.
func TestGoexitAfterOutcome(t *testing.T) {
	exits := &telemetry{middleware: func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			defer runtime.Goexit()
			return next(ctx, m)
		}
	}}
	for name, opt := range map[string]nsqx.ConsumerOption{"hook": nsqx.WithHooks(exitingHook), "telemetry": nsqx.WithTelemetry(exits)} {
		bubble(t, name, func(t *testing.T) {
			d := newNSQDs(t)
			s := d.run(func(_ context.Context, body string) error {
				if body != "good" {
					return errBill
				}
				return nil
			}, opt, nsqx.WithRetry(seconds), nsqx.WithConcurrency(1))
			l := d.line(nsqd1)
			l.sendAs(1, 1, "good")
			l.sendAs(2, 3, "bad")
			l.wantCommands("FIN REQ", "FIN 1, REQ 2 3000")
			s.wantStop(closeTime)
		})
	}
}

// TestGoexitDuringShutdown: the shutdown waits for a handler that ends by Goexit as for any other,
// and all workers end.
func TestGoexitDuringShutdown(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		_, stop := consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
			time.Sleep(3 * time.Second)
			runtime.Goexit()
			return nil
		})
		publish(s, 1)
		synctest.Wait()
		wantStop(t, stop, 3*time.Second+closeTime)
		want(t, "finished", billing(s).Finished, 0)
		want(t, "requeued", billing(s).Requeued, 1)
		want(t, "delay", s.Requeues("orders", "billing")[0].Delay, 10*time.Second)
	})
}

// TestLoggerPanics: a logger that panics while a panic is logged does not crash the process.
func TestLoggerPanics(t *testing.T) {
	for name, opts := range map[string][]nsqx.ConsumerOption{
		"":                 nil,
		"with middleware":  opts(nsqx.WithMiddleware(panics("after"))),
		"crash guard":      opts(max3, guard15, nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error { return nil })),
		"a hook panics":    opts(nsqx.WithHooks(panickingHook)),
		"a short delay":    opts(nsqx.WithMaxRequeueDelay(5 * time.Second)),
		"a policy as well": opts(nsqx.WithRetry(retry.PolicyFunc(func(int, error) time.Duration { panic(errOther) }))),
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			c := makeConsumer(t, func(context.Context, string) error { panic(errOther) },
				append(opts, s.Option(), nsqx.WithLogger(slog.New(panickingLog{})))...)
			nsqxtest.Run(t, c)
			s.PublishMessage("orders", []byte("x"), nsqxtest.WithAttempts(60))
			time.Sleep(time.Second)
			deadLettered := uint64(0) // the outcome stands, although logging it panics
			if name == "crash guard" {
				deadLettered = 1
			}
			if st := c.Stats(); st.Requeued != 1-deadLettered || st.DeadLettered != deadLettered || st.Finished > 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// TestErrorMethodsPanic: an error whose methods panic is an ordinary failure, in each row of the
// outcome table.
func TestErrorMethodsPanic(t *testing.T) {
	for name, tt := range map[string]struct {
		cause error
		want  handler.Disposition
	}{
		"running":       {nil, handler.Requeue},
		"shutting down": {handler.ErrShutdown, handler.Interrupted},
		"lost":          {handler.ErrConnLost, handler.Lost},
	} {
		bubble(t, name, func(t *testing.T) {
			src := newSource(t)
			c := newConsumer(t, func(context.Context, string) error {
				if tt.cause != nil {
					src.end(tt.cause)
				}
				var e *nilErr
				return e
			}, nsqx.WithNSQD(nsqd1))
			m := src.message(1, 0, "x")
			want(t, "disposition", c.Process(m.Context(), m).Disposition, tt.want)
		})
	}
}

// TestPolicyPanicsUnderTelemetry: telemetry sees the outcome even if the policy panics.
func TestPolicyPanicsUnderTelemetry(t *testing.T) {
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
		var log logbook
		c := newLoggedConsumer(t, &log, func(context.Context, string) error { return errBill }, nsqx.WithNSQD(nsqd1), nsqx.WithRetry(policy), nsqx.WithTelemetry(observe))
		out := c.Process(context.Background(), newSource(t).message(1, 0, "x"))
		want(t, "disposition", out.Disposition, handler.Requeue)
		want(t, "what the telemetry saw", seen.Disposition, handler.Requeue)
		want(t, "panics logged", log.count(slog.LevelError, "panic while handling"), 1)
	})
}
