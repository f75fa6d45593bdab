package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
)

// TestEvents: events come in order, and each OnConnect has its OnDisconnect.
func TestEvents(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		ev := &events{}
		s := d.run(done, nsqx.WithHooks(ev.hooks()))
		l := d.line(nsqd1)
		time.Sleep(3 * time.Second)
		d.net.Refuse(syscall.ECONNREFUSED)
		l.p.Close()
		synctest.Wait()
		time.Sleep(time.Until(s.Stats().Connections[0].RetryAt))
		synctest.Wait()
		d.net.Refuse(nil)
		time.Sleep(10 * time.Second)
		s.wantStop(closeTime)
		want(t, "events", ev.names(), "connect, disconnect, dial error, connect, disconnect")
		all := ev.all()
		for i, ev := range all {
			want(t, "topic", ev.Topic, "orders")
			want(t, "channel", ev.Channel, "billing")
			want(t, "nsqd", ev.NSQD, nsqd1)
			want(t, "an error", ev.Err != nil, i == 1 || i == 2)
			want(t, "a retry", ev.Retry > 0, i == 1 || i == 2)
		}
		want(t, "connected at", all[0].Time, d.start)
		want(t, "lost at", all[1].Time, d.start.Add(3*time.Second))
		want(t, "logged", d.log.count(slog.LevelInfo, "nsqx: connected"), 2) // one of them again
		want(t, "logged", d.log.count(slog.LevelDebug, "nsqx: disconnected"), 1)
		want(t, "logged", d.log.count(slog.LevelWarn, "connection lost"), 1)
	})
}

// TestSlowHook: a slow hook delays neither messages nor connections; events beyond the buffer are
// dropped and counted.
func TestSlowHook(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t, nsqd1, nsqd2)
		ev := &events{onEvent: func(event) { time.Sleep(time.Hour) }}
		s := d.run(done, nsqx.WithHooks(ev.hooks()))
		for range 100 {
			d.line(nsqd2).p.Close()
			time.Sleep(15 * time.Second)
		}
		l := d.line(nsqd1)
		l.send(1)
		l.wantCommands("FIN", "FIN 1")
		stats := s.Stats()
		want(t, "dials", stats.Connections[1].Dials, 101)
		// 202 events: one is running, 128 are buffered.
		want(t, "dropped", stats.EventsDropped, 202-129)
		took, err := s.stop()
		want(t, "took", took, 22*time.Second)
		shutdown, ok := errors.AsType[*nsqx.ShutdownError](err)
		if !ok || !shutdown.HookRuns || len(shutdown.Abandoned)+len(shutdown.Unconfirmed)+shutdown.Running != 0 || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		time.Sleep(200 * time.Hour) // until the hook and its goroutine end
	})
}

// TestHookInTime: a hook may use the rest of the shutdown timeout.
func TestHookInTime(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		server := nsqxtest.NewServer(t)
		ev := &events{onEvent: func(ev event) {
			if ev.what == "disconnect" {
				time.Sleep(6 * time.Second)
			}
		}}
		_, stop := consume(t, []*nsqxtest.Server{server}, done, nsqx.WithHooks(ev.hooks()), timeout(5*time.Second))
		wantStop(t, stop, 6*time.Second+closeTime)
	})
}

// TestHooksUseTheConsumer: no lock is held while hooks run.
func TestHooksUseTheConsumer(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		var s *service
		ready := make(chan struct{})
		ev := &events{onEvent: func(event) {
			<-ready
			s.Stats()
			s.cancel()
		}}
		settled := &settleEvents{onSettle: func(*handler.Message) { s.Stats() }}
		s = d.run(done, nsqx.WithHooks(ev.hooks(), settled.hooks()))
		close(ready)
		<-s.done
		wantErr(t, "Run", s.err, nil)
		want(t, "events", ev.names(), "connect, disconnect")
	})
}

// TestEventHookPanics: the hooks after one that panics are still called.
func TestEventHookPanics(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		server, log := nsqxtest.NewServer(t), &logbook{}
		seen, ev := 0, &events{}
		panics := func(observe.ConnEvent) { seen++; panic(errOther) }
		c := newLoggedConsumer(t, log, done, server.Option(),
			nsqx.WithHooks(observe.Hooks{OnConnect: panics, OnDisconnect: panics}), nsqx.WithHooks(ev.hooks()))
		stop := nsqxtest.Run(t, c)
		synctest.Wait()
		wantStop(t, stop, closeTime)
		want(t, "called", seen, 2)
		want(t, "events", ev.names(), "connect, disconnect")
		want(t, "logged", log.count(slog.LevelError, "hook panicked"), 2)
	})
}

// TestSettleHook: OnSettle is called before the answer to nsqd, with the outcome and the body.
func TestSettleHook(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		var l *line
		settled := &settleEvents{onSettle: func(*handler.Message) { time.Sleep(time.Second) }}
		s := d.run(func(_ context.Context, body string) error {
			if body == "bad" {
				return errBill
			}
			return nil
		}, nsqx.WithHooks(settled.hooks()), nsqx.WithConcurrency(1), nsqx.WithRetry(seconds))
		l = d.line(nsqd1)
		l.sendAs(1, 1, "good")
		l.sendAs(2, 3, "bad")
		time.Sleep(3 * time.Second)
		l.wantAnswers("1s FIN 1", "2s REQ 2 3000")
		got := settled.all()
		want(t, "settled", len(got), 2)
		want(t, "first", got[0], settleEvent{"1", "good", handler.Outcome{Disposition: handler.Finish}})
		want(t, "second", got[1], settleEvent{"2", "bad", handler.Outcome{Disposition: handler.Requeue, Delay: 3 * time.Second, Err: errBill}})
		s.wantStop(closeTime)
	})
}

// TestTelemetry: the middleware of telemetry sees the final outcome, and telemetry learns of the
// consumer and of its end.
func TestTelemetry(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		d.config.ClientID = "me"
		var seen []handler.Outcome
		tel := &hookedTelemetry{}
		tel.middleware = func(next handler.Raw) handler.Raw {
			return func(ctx context.Context, m *handler.Message) error {
				err := next(ctx, m)
				seen = append(seen, m.Outcome())
				if dials := d.net.Dials(); (m.Outcome().Disposition == handler.DeadLetter) != (dials == 2) {
					t.Errorf("%d connections when the outcome is %v", dials, m.Outcome())
				}
				return err
			}
		}
		answers := []error{nil, errBill, nil}
		s := d.run(func(context.Context, string) error {
			answer := answers[0]
			answers = answers[1:]
			return answer
		}, nsqx.WithTelemetry(tel), nsqx.WithConcurrency(1), nsqx.WithMaxAttempts(1), nsqx.WithDeadLetter("dead"))
		want(t, "info", tel.info, observe.ConsumerInfo{Topic: "orders", Channel: "billing", ClientID: "me", Concurrency: 1, MaxAttempts: 1})
		l := d.line(nsqd1)
		want(t, "observed", tel.running, 1)
		l.send(1)
		synctest.Wait()
		l.send(2)
		synctest.Wait()
		want(t, "stats", tel.stats().Finished, 1)
		want(t, "outcomes", len(seen), 2)
		want(t, "first", seen[0], handler.Outcome{Disposition: handler.Finish})
		want(t, "second", seen[1], handler.Outcome{Disposition: handler.DeadLetter, Err: errBill})
		s.wantStop(closeTime)
		want(t, "observed", tel.running, 0)
		want(t, "panics", d.log.count(slog.LevelError, ""), 0)
		want(t, "events", tel.names(), "connect, disconnect")
	})
}

// TestStatsAddUp: counters of an address add up over its connections.
func TestStatsAddUp(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t, nsqd2, nsqd1)
		s := d.run(done, nsqx.WithMaxInFlight(7), nsqx.WithConcurrency(1), nsqx.WithFixedRDY())
		for range 3 {
			l := d.line(nsqd1)
			l.send(1, 2)
			l.wantCommands("FIN", "FIN 1, FIN 2")
			stats := s.Stats().Connections[1]
			want(t, "address", stats.Addr, nsqd1)
			want(t, "RDY", stats.RDY, stats.Quota)
			want(t, "in flight", stats.InFlight, 0)
			l.p.Close()
			synctest.Wait()
			stats = s.Stats().Connections[1]
			want(t, "address", stats.Addr, nsqd1)
			want(t, "quota", stats.Quota, 0)
			want(t, "RDY", stats.RDY, 0)
			time.Sleep(10 * time.Second)
		}
		stats := s.Stats()
		want(t, "received", stats.Connections[1].Received, 6)
		want(t, "finished", stats.Connections[1].Finished, 6)
		want(t, "finished", stats.Finished, 6)
		want(t, "first address", stats.Connections[0].Addr, nsqd2)
		want(t, "finished by the first", stats.Connections[0].Finished, 0)
		s.wantStop(closeTime)
	})
}

// TestPublisherEvents: hooks learn of a publisher's connections, and each OnConnect has its
// OnDisconnect.
func TestPublisherEvents(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		s.Refuse(true)
		heard := &events{}
		p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithHooks(heard.hooks()))
		want(t, "while it is down", heard.names(), "dial error")
		s.Refuse(false)
		time.Sleep(time.Second)
		want(t, "when it is up", heard.names(), "dial error, connect")
		wantKind(t, sendTo(t.Context(), p, "orders", "x"), nil)
		s.Disconnect()
		synctest.Wait()
		want(t, "when it is lost", heard.names(), "dial error, connect, disconnect, connect")
		wantErr(t, "Shutdown", p.Shutdown(t.Context()), nil)
		want(t, "at the end", heard.names(), "dial error, connect, disconnect, connect, disconnect")
		all := heard.all()
		for i, ev := range all {
			want(t, fmt.Sprint("address of ", i), ev.NSQD, s.Addr())
			want(t, fmt.Sprint("topic of ", i), ev.Topic+ev.Channel, "")
			want(t, fmt.Sprint("error of ", i), ev.Err != nil, ev.what == "dial error" || i == 2)
		}
	})
}

// TestLostAfterTheEnd: what is settled after the end of its connection counts as lost, in the counters of
// the address, too.
func TestLostAfterTheEnd(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		ends := make(chan error)
		c, _ := consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error { return <-ends }, nsqx.WithConcurrency(3))
		stats := func(what string, lost uint64, inFlight int) {
			t.Helper()
			synctest.Wait()
			got := c.Stats().Connections[0]
			want(t, what+": lost", got.Lost, lost)
			want(t, what+": in flight", got.InFlight, inFlight)
			want(t, what+": received", got.Received-got.Lost-got.Finished-got.Requeued, 3-lost)
		}
		publish(s, 3)
		stats("before", 0, 3)
		s.Refuse(true)
		s.Disconnect()
		time.Sleep(time.Second)
		stats("cut", 0, 0)
		ends <- nil
		stats("a success", 1, 0)
		ends <- errBill
		stats("a failure", 2, 0)
		s.Refuse(false)
		time.Sleep(20 * time.Second)
		stats("connected again", 2, 0)
		ends <- nil
		stats("all", 3, 0)
		close(ends)
	})
}
