package test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"runtime/pprof"
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

// TestRunEndsInOrder: a server and a consumer end first, then the producer that they publish with,
// then the publisher. What a handler publishes in the drain is confirmed.
func TestRunEndsInOrder(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		pub, err := nsqx.NewPublisher(s.Option(), nsqx.WithLogger(discard))
		wantErr(t, "publisher", err, nil)
		p, err := nsqx.NewProducer("invoices", codec.String(), nsqx.WithPublisher(pub))
		wantErr(t, "producer", err, nil)
		c := newConsumer(t, func(ctx context.Context, v string) error {
			time.Sleep(10 * time.Second)
			return p.Publish(ctx, v)
		}, s.Option())
		var ends synced[string]
		server := nsqx.ServiceFunc(func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(15 * time.Second)
			wantErr(t, "publish of a request", p.Publish(context.WithoutCancel(ctx), "late"), nil)
			ends.add("server")
			return nil
		})
		async := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background())
		over := make(chan error)
		go func() { over <- nsqx.Run(ctx, pub, p, c, server, nsqx.WithRunLogger(discard)) }()
		publish(s, 3)
		time.Sleep(time.Second)
		synctest.Wait()
		wantErr(t, "asynchronous publish", p.PublishAsync(context.Background(), "async", func(err error) { async <- err }), nil)
		cancel()
		began := time.Now()
		wantErr(t, "Run", <-over, nil)
		want(t, "took", time.Since(began) < 16*time.Second, true)
		wantErr(t, "async", <-async, nil)
		want(t, "published", len(nsqxtest.Received(t, s, "invoices", codec.String(), 5)), 5)
		wantErr(t, "publish afterwards", p.Publish(context.Background(), "x"), nsqx.ErrNotSent)
		wantErr(t, "health", pub.Healthy(), nsqx.ErrNotRunning)
		for _, again := range []nsqx.Service{pub, p, c} {
			wantErr(t, "second Run", nsqx.Run(context.Background(), again), nsqx.ErrAlreadyRun)
		}
	})
}

// TestRunGrace: services that hang are named and left behind; the others are ended, in the time that
// is left, and a consumer's shutdown timeout is shortened.
func TestRunGrace(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p, err := nsqx.NewProducer("invoices", codec.String(), s.Option(), nsqx.WithLogger(discard))
		wantErr(t, "producer", err, nil)
		c := newConsumer(t, func(ctx context.Context, _ string) error { <-ctx.Done(); return nil },
			s.Option(), nsqx.WithShutdownTimeout(time.Hour))
		release := make(chan struct{})
		hangs := nsqx.ServiceFunc(func(context.Context) error { <-release; return nil })
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(context.Background())
		over := make(chan error)
		go func() {
			over <- nsqx.Run(ctx, c, p, hangs, nsqx.WithGrace(20*time.Second), nsqx.WithRunLogger(slog.New(slog.NewTextHandler(&log, nil))))
		}()
		publish(s, 1)
		time.Sleep(time.Second)
		cancel()
		began := time.Now()
		err = <-over
		want(t, "took", time.Since(began), 20*time.Second)
		e, ok := errors.AsType[*nsqx.GraceError](err)
		if !ok || len(e.Services) != 1 || !strings.Contains(e.Services[0], "TestRunGrace") || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		want(t, "errors", len(faults(err)), 1)
		wantErr(t, "producer", p.Healthy(), nsqx.ErrNotRunning)
		want(t, "finished", billing(s).Finished, 1)
		for _, part := range []string{"consumer orders/billing", "TestRunGrace", "remaining_seconds=1"} {
			if !strings.Contains(log.String(), part) {
				t.Errorf("the log has no %q:\n%s", part, &log)
			}
		}
		close(release)
	})
}

// stringer is a service with a name of its own.
type stringer struct {
	nsqx.ServiceFunc
	string func() string
}

func (n *stringer) String() string { return n.string() }

// TestRunNames: a service that names itself is named so, unless it cannot.
func TestRunNames(t *testing.T) {
	for want, name := range map[string]func() string{
		"archive of orders": func() string { return "archive of orders" },
		"*test.stringer":    func() string { panic("boom") },
	} {
		returns := func(context.Context) error { return nil }
		err := nsqx.Run(t.Context(), &stringer{returns, name})
		if !errors.Is(err, nsqx.ErrEnded) || !strings.HasSuffix(err.Error(), ": "+want) {
			t.Errorf("Run returned %v, want %q", err, want)
		}
	}
}

// TestRunBadServices: a service that panics, exits its goroutine, fails or returns at once stops the
// others in order; one that cannot run at all lets none start.
func TestRunBadServices(t *testing.T) {
	for name, tt := range map[string]struct {
		run  nsqx.ServiceFunc
		is   error
		text string
	}{
		"panics":  {func(context.Context) error { panic("boom") }, nil, "boom"},
		"exits":   {func(context.Context) error { runtime.Goexit(); return nil }, nil, "Goexit"},
		"fails":   {func(context.Context) error { return errBill }, errBill, ""},
		"returns": {func(context.Context) error { return nil }, nsqx.ErrEnded, "TestRunBadServices"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			c := newConsumer(t, done, s.Option())
			err := nsqx.Run(context.Background(), c, tt.run)
			if tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) || len(faults(err)) != 1 {
				t.Errorf("Run returned %v", err)
			}
			if _, panicked := errors.AsType[*handler.PanicError](err); panicked != (tt.is == nil) {
				t.Errorf("Run returned %T %v", err, err)
			}
			wantErr(t, "the consumer", c.Live(), nsqx.ErrNotRunning)
		})
	}
	bubble(t, "none starts", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := newConsumer(t, done, s.Option())
		var none *nsqx.Consumer[string]
		err := nsqx.Run(context.Background(), c, none, nsqx.ServiceFunc(nil), c, nsqx.WithGrace(0), nsqx.WithRunLogger(nil))
		for _, part := range []string{"service 2 of 6 is nil", "service 3 of 6 is nil", "service 4 of 6, consumer orders/billing, is given twice", "WithGrace is 0s", "WithRunLogger got nil"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("Run returned %v, want %q", err, part)
			}
		}
		wantErr(t, "Run", err, nsqx.ErrAlreadyRun)
		want(t, "dials", len(s.Commands()), 0)
	})
}

// TestStart: Start, Stop and Wait.
func TestStart(t *testing.T) {
	bubble(t, "in order", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := newConsumer(t, done, s.Option())
		wantErr(t, "Stop before Start", c.Stop(t.Context()), nsqx.ErrNotRunning)
		wantErr(t, "Wait before Start", c.Wait(), nsqx.ErrNotRunning)
		wantErr(t, "Start", c.Start(t.Context()), nil)
		wantErr(t, "health", c.Healthy(), nil)
		wantErr(t, "second Start", c.Start(t.Context()), nsqx.ErrAlreadyRun)
		wantErr(t, "Run", c.Run(t.Context()), nsqx.ErrAlreadyRun)
		publish(s, 2)
		s.Await("orders", "billing", finished(2))
		wantErr(t, "Stop", c.Stop(t.Context()), nil)
		wantErr(t, "Wait", c.Wait(), nil)
		wantErr(t, "second Stop", c.Stop(t.Context()), nil)
	})
	bubble(t, "the ctx is that of Run", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := newConsumer(t, done, s.Option())
		ctx, cancel := context.WithCancel(t.Context())
		wantErr(t, "Start", c.Start(ctx), nil)
		cancel()
		wantErr(t, "Wait", c.Wait(), nil)
	})
	bubble(t, "Stop is cut short", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := newConsumer(t, func(ctx context.Context, _ string) error { <-ctx.Done(); return nil }, s.Option())
		wantErr(t, "Start", c.Start(t.Context()), nil)
		publish(s, 1)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantErr(t, "Stop", c.Stop(ctx), context.DeadlineExceeded)
		wantErr(t, "Wait", c.Wait(), nil)
		want(t, "finished", billing(s).Finished, 1)
	})
	bubble(t, "no topic yet", func(t *testing.T) {
		l := nsqxtest.NewLookupd(t)
		c := newConsumer(t, done, l.Option())
		wantErr(t, "Start", c.Start(t.Context()), nil)
		wantErr(t, "Stop", c.Stop(t.Context()), nil)
	})
}

// TestStartFails: Start returns the reason, at once if no retry helps, and leaves nothing running.
func TestStartFails(t *testing.T) {
	refuse := func(s *nsqxtest.Server, command, text string) {
		s.On(command, func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return nsqxtest.Fail(text) })
	}
	for name, tt := range map[string]struct {
		prepare func(*nsqxtest.Server)
		within  time.Duration
		text    string
	}{
		"AUTH":            {func(s *nsqxtest.Server) { refuse(s, "IDENTIFY", "E_AUTH_FIRST auth required") }, time.Second, "E_AUTH_FIRST"},
		"name":            {func(s *nsqxtest.Server) { refuse(s, "SUB", "E_BAD_TOPIC SUB topic name") }, time.Second, "E_BAD_TOPIC"},
		"permission":      {func(s *nsqxtest.Server) { refuse(s, "SUB", "E_UNAUTHORIZED AUTH failed") }, time.Second, "E_UNAUTHORIZED"},
		"message timeout": {func(s *nsqxtest.Server) {}, time.Second, "allows no message timeout of 20m0s: shorten it, or raise nsqd's --max-msg-timeout"},
		"away":            {func(s *nsqxtest.Server) { s.Refuse(true) }, 4 * time.Second, "refused"},
		"refused SUB":     {func(s *nsqxtest.Server) { refuse(s, "SUB", "E_SUB_FAILED too many consumers") }, 4 * time.Second, "too many consumers"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithoutChecks(nsqxtest.CheckSyntax))
			tt.prepare(s)
			opts := []nsqx.ConsumerOption{s.Option(), nsqx.WithStartTimeout(3 * time.Second)}
			if name == "message timeout" {
				opts = append(opts, nsqx.WithMessageTimeout(20*time.Minute))
			}
			c := newConsumer(t, done, opts...)
			began := time.Now()
			err := c.Start(t.Context())
			if !errors.Is(err, nsqx.ErrNoNSQD) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Start returned %v", err)
			}
			if took := time.Since(began); took > tt.within {
				t.Errorf("it took %v", took)
			}
			wantErr(t, "live", c.Live(), nsqx.ErrNotRunning)
			wantErr(t, "Wait", c.Wait(), nil)
			wantErr(t, "again", c.Start(t.Context()), nsqx.ErrAlreadyRun)
		})
	}
	bubble(t, "cancelled", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		s.Refuse(true)
		c := newConsumer(t, done, s.Option())
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errOther) })
		wantErr(t, "Start", c.Start(ctx), errOther)
	})
}

// TestBytesCutIsLogged: WithMaxInFlightBytes that allows fewer messages than WithMaxInFlight is logged
// once.
func TestBytesCutIsLogged(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		var log logbook
		c := newLoggedConsumer(t, &log, sleeps(10*time.Millisecond, nil), s.Option(),
			nsqx.WithConcurrency(100), nsqx.WithMaxInFlight(100), nsqx.WithMaxInFlightBytes(1<<20))
		nsqxtest.Run(t, c)
		for range 300 {
			s.Publish("orders", bytes.Repeat([]byte("x"), 100<<10))
		}
		s.Await("orders", "billing", finished(300))
		want(t, "lines", log.count(slog.LevelWarn, "nsqx: fewer messages are in flight than are asked for, since bodies are large, said once; see WithMaxInFlightBytes"), 1)
	})
}

// TestPprofLabels: handlers have the labels of their consumer, also in their contexts.
func TestPprofLabels(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		var got synced[string]
		c := newConsumer(t, func(ctx context.Context, _ string) error {
			topic, _ := pprof.Label(ctx, "topic")
			channel, _ := pprof.Label(ctx, "channel")
			var profile bytes.Buffer
			wantErr(t, "profile", pprof.Lookup("goroutine").WriteTo(&profile, 1), nil)
			if !strings.Contains(profile.String(), `labels: {"channel":"billing", "topic":"orders"}`) {
				t.Error("the goroutine has no labels")
			}
			got.add(topic + "/" + channel)
			return nil
		}, s.Option(), nsqx.WithPprofLabels())
		nsqxtest.Run(t, c)
		publish(s, 1)
		s.Await("orders", "billing", finished(1))
		want(t, "labels", got.all()[0], "orders/billing")
	})
}

// TestQuietly: a quiet failure is an attempt, and not a failure for the breaker.
func TestQuietly(t *testing.T) {
	after := func(err error) error { return retry.After(time.Second, err) }
	afterQuietly := func(err error) error { return retry.AfterQuietly(time.Second, err) }
	plain := func(err error) error { return err }
	for name, tt := range map[string]struct {
		mark  func(error) error
		quiet bool
	}{"Quietly": {retry.Quietly, true}, "AfterQuietly": {afterQuietly, true}, "After": {after, false}, "no mark": {plain, false}} {
		quiet := tt.quiet
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			c := newConsumer(t, func(context.Context, string) error { return tt.mark(errBill) },
				s.Option(), nsqx.WithMaxAttempts(3), nsqx.WithDiscard(), nsqx.WithRetry(seconds))
			nsqxtest.Run(t, c)
			publish(s, 100)
			time.Sleep(time.Second / 2)
			want(t, "breaker is open", c.Stats().Backoff, !quiet)
			if quiet {
				s.Await("orders", "billing", finished(100)) // at the third attempt
				synctest.Wait()                             // a worker counts after its FIN
				want(t, "dropped", c.Stats().Dropped, 100)
			}
		})
	}
}
