package test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
)

// events is all the hooks for connections.
type events struct {
	hold func(event) // called for each
	list synced[event]
}

type event struct {
	what string
	observe.ConnEvent
}

func (h *events) hooks() observe.Hooks {
	adds := func(what string) func(observe.ConnEvent) { return func(ev observe.ConnEvent) { h.add(what, ev) } }
	return observe.Hooks{
		OnConnect: adds("connect"), OnDisconnect: adds("disconnect"), OnDialError: adds("dial error"), OnRefused: adds("refused"),
	}
}

func (h *events) add(what string, ev observe.ConnEvent) {
	h.list.add(event{what, ev})
	if h.hold != nil {
		h.hold(event{what, ev})
	}
}

func (h *events) all() []event { return h.list.all() }

func (h *events) names() string {
	var names []string
	for _, ev := range h.all() {
		names = append(names, ev.what)
	}
	return strings.Join(names, ", ")
}

// telemetry is what the test makes of it.
type telemetry struct {
	observe.NoTelemetry
	middleware handler.Middleware
	info       observe.ConsumerInfo
	stats      func() nsqx.Stats
	running    int // Observe without stop
}

func (t *telemetry) Consumer(info observe.ConsumerInfo) handler.Middleware {
	t.info = info
	return t.middleware
}

func (t *telemetry) Observe(stats func() nsqx.Stats) (stop func()) {
	t.stats = stats
	t.running++
	return func() { t.running-- }
}

// TestEvents: in order, and each that was told of its beginning is told of its end.
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
		s.wantStop(orderly)
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
		want(t, "logged", d.log.count(slog.LevelInfo, "nsqx: connected"), 2)
		want(t, "logged", d.log.count(slog.LevelInfo, "nsqx: disconnected"), 1)
		want(t, "logged", d.log.count(slog.LevelWarn, "connection lost"), 1)
	})
}

// TestSlowHook: it holds up neither messages nor connections; what does not fit is dropped and counted.
func TestSlowHook(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t, nsqd1, nsqd2)
		ev := &events{hold: func(event) { time.Sleep(time.Hour) }}
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
		// 202 events: one is being handled, 128 wait.
		want(t, "dropped", stats.EventsDropped, 202-129)
		took, err := s.stop()
		want(t, "took", took, 22*time.Second)
		shutdown, ok := errors.AsType[*nsqx.ShutdownError](err)
		if !ok || !shutdown.HookRuns || len(shutdown.Abandoned)+len(shutdown.Unconfirmed)+shutdown.Running != 0 || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		time.Sleep(200 * time.Hour) // the hook comes to its end, and so does its goroutine
	})
}

// TestHookInTime: a hook has what is left of the time for a shutdown.
func TestHookInTime(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		ev := &events{hold: func(ev event) {
			if ev.what == "disconnect" {
				time.Sleep(6 * time.Second)
			}
		}}
		s := d.run(done, nsqx.WithHooks(ev.hooks()), nsqx.WithShutdownTimeout(5*time.Second))
		d.line(nsqd1)
		s.wantStop(6*time.Second + orderly)
	})
}

// TestHooksUseTheConsumer: no lock is held while they run.
func TestHooksUseTheConsumer(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		var s *service
		ready := make(chan struct{})
		ev := &events{hold: func(event) {
			<-ready
			s.Stats()
			s.cancel()
		}}
		settled := &settles{hold: func(*handler.Message) { s.Stats() }}
		s = d.run(done, nsqx.WithHooks(ev.hooks(), settled.hooks()))
		close(ready)
		<-s.done
		wantErr(t, "Run", s.err, nil)
		want(t, "events", ev.names(), "connect, disconnect")
	})
}

// TestPanickyEventHook: those after it are called nevertheless.
func TestPanickyEventHook(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		seen, ev := 0, &events{}
		panics := func(observe.ConnEvent) { seen++; panic(errOther) }
		s := d.run(done, nsqx.WithHooks(observe.Hooks{OnConnect: panics, OnDisconnect: panics}), nsqx.WithHooks(ev.hooks()))
		d.line(nsqd1)
		s.wantStop(orderly)
		want(t, "called", seen, 2)
		want(t, "events", ev.names(), "connect, disconnect")
		want(t, "logged", d.log.count(slog.LevelError, "hook panicked"), 2)
	})
}

// TestSettleHook: before nsqd is told, with the outcome and the body.
func TestSettleHook(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		var l *line
		settled := &settles{hold: func(*handler.Message) { time.Sleep(time.Second) }}
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
		want(t, "first", got[0], settle{"1", "good", handler.Outcome{Disposition: handler.Finish}})
		want(t, "second", got[1], settle{"2", "bad", handler.Outcome{Disposition: handler.Requeue, Delay: 3 * time.Second, Err: errBill}})
		s.wantStop(orderly)
	})
}

type hookedTelemetry struct {
	telemetry
	events
}

func (t *hookedTelemetry) Hooks() observe.Hooks { return t.hooks() }

// TestTelemetry: its middleware sees what nsqd will hear, and it is told of the consumer and its end.
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
		s.wantStop(orderly)
		want(t, "observed", tel.running, 0)
		want(t, "panics", d.log.count(slog.LevelError, ""), 0)
		want(t, "events", tel.names(), "connect, disconnect")
	})
}
