package test

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestRedialFromTheStart: nsqd may start after the service.
func TestRedialFromTheStart(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		d.net.Refuse(syscall.ECONNREFUSED)
		ev := &events{}
		s := d.run(done, nsqx.WithHooks(ev.hooks()))
		time.Sleep(2 * time.Minute)
		synctest.Wait()

		failed := ev.all()
		next := d.start
		for i, ev := range failed {
			want(t, "event", ev.what, "dial error")
			want(t, "nsqd", ev.NSQD, nsqd1)
			want(t, "time", ev.Time, next)
			wantErr(t, "event", ev.Err, syscall.ECONNREFUSED)
			wantDelay(t, min(i, 20), ev.Retry)
			next = ev.Time.Add(ev.Retry)
		}
		if len(failed) < 10 || len(failed) > 40 {
			t.Errorf("%d dials in two minutes", len(failed))
		}
		stats := s.Stats().Connections[0]
		want(t, "dials", stats.Dials, uint64(len(failed)))
		want(t, "dials", d.net.Dials(), len(failed))
		want(t, "connected", stats.Connected, false)
		want(t, "next dial", stats.RetryAt, next)
		wantErr(t, "last error", stats.LastErr, syscall.ECONNREFUSED)
		want(t, "warnings", d.log.count(slog.LevelWarn, "cannot connect"), 1)
		want(t, "logged as details", d.log.count(slog.LevelDebug, "cannot connect"), len(failed)-1)

		d.net.Refuse(nil)
		time.Sleep(time.Until(next))
		l := d.line(nsqd1)
		l.send(1)
		l.wantCommands("FIN", "FIN 1")
		stats = s.Stats().Connections[0]
		want(t, "connected", stats.Connected, true)
		want(t, "next dial", stats.RetryAt, time.Time{})
		wantErr(t, "last error", stats.LastErr, nil)
		s.wantStop(closeTime)
	})
}

// TestRedialAfterLoss: redials are slow for an nsqd whose connections end early, and fast for one
// whose connection lasted.
func TestRedialAfterLoss(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		ev := &events{}
		s := d.run(done, nsqx.WithHooks(ev.hooks()))
		lose := func(n int, up time.Duration) {
			t.Helper()
			l := d.line(nsqd1)
			time.Sleep(up)
			l.p.Close()
			synctest.Wait()
			all := ev.all()
			last := all[len(all)-1]
			want(t, "event", last.what, "disconnect")
			wantDelay(t, n, last.Retry)
			want(t, "next dial", s.Stats().Connections[0].RetryAt, last.Time.Add(last.Retry))
			time.Sleep(last.Retry)
			synctest.Wait()
			want(t, "connected", s.Stats().Connections[0].Connected, true)
		}
		lose(0, 10*time.Second-1)
		lose(1, 0)
		lose(2, time.Second)
		lose(3, 9*time.Second)
		lose(0, 10*time.Second)
		lose(1, 9*time.Second)
		want(t, "dials", s.Stats().Connections[0].Dials, 7)
		s.wantStop(closeTime)
	})
}

// TestRedialSlowly: after an error that a quick retry does not fix, the first delay is a long one.
func TestRedialSlowly(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		answers := []string{"E_BAD_TOPIC SUB topic", "E_SUB_FAILED SUB failed", "E_BAD_CHANNEL SUB channel"}
		d.on = func(l *line, cmd fake.Command) bool {
			if len(answers) == 0 {
				return false
			}
			l.fail(answers[0])
			answers = answers[1:]
			return true
		}
		ev := &events{}
		s := d.run(done, nsqx.WithHooks(ev.hooks()))
		time.Sleep(time.Minute)
		synctest.Wait()
		all := ev.all()
		if len(all) != 4 || all[3].what != "connect" {
			t.Fatalf("events %v", all)
		}
		wantSlow(t, all[0].Retry)
		wantDelay(t, 1, all[1].Retry)
		wantSlow(t, all[2].Retry)
		for _, ev := range all[:3] {
			if fault, ok := errors.AsType[*conn.Error](ev.Err); !ok || fault.Addr != nsqd1 || fault.Phase != conn.PhaseSubscribe {
				t.Errorf("error %v", ev.Err)
			}
		}
		want(t, "errors logged", d.log.count(slog.LevelError, "cannot connect"), 1)
		want(t, "details logged", d.log.count(slog.LevelDebug, "cannot connect"), 2)
		s.wantStop(closeTime)
	})
}

// TestSilentNSQD: a silent connection ends after two heartbeat intervals, and handlers learn of it.
func TestSilentNSQD(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		d.silent = true
		d.identify = map[string]any{"msg_timeout": 120_000}
		var cause error
		var ended time.Duration
		s := d.run(func(ctx context.Context, _ string) error {
			<-ctx.Done()
			cause, ended = context.Cause(ctx), d.since()
			return ctx.Err()
		}, nsqx.WithMessageTimeout(2*time.Minute), nsqx.WithDiscard())
		d.line(nsqd1).send(1)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		want(t, "cause", cause, handler.ErrConnLost)
		want(t, "ended after", ended, time.Minute)
		want(t, "lost", s.Stats().Lost, 1)
		want(t, "dials", s.Stats().Connections[0].Dials, 2)
		s.stop()
	})
}

// TestLateResultsOfALostConnection: reconnecting does not wait for handlers of the lost connection,
// and their results are ignored.
func TestLateResultsOfALostConnection(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		var answers = map[string]error{fake.ID(1): nil, fake.ID(2): errBill}
		s := d.run(func(ctx context.Context, body string) error {
			if answer, ok := answers[body]; ok {
				time.Sleep(20 * time.Second)
				want(t, "cause", context.Cause(ctx), handler.ErrConnLost)
				return answer
			}
			return nil
		}, nsqx.WithConcurrency(3), nsqx.WithMaxAttempts(1), nsqx.WithDeadLetter("dead"))
		old := d.line(nsqd1)
		old.send(1, 2)
		synctest.Wait()
		old.p.Close()
		time.Sleep(time.Second)
		l := d.line(nsqd1)
		if l == old {
			t.Fatal("no new connection while handlers of the old one run")
		}
		l.send(3)
		l.sendAs(1, 2, "again") // redelivered
		l.wantCommands("FIN", "FIN 3, FIN 1")
		want(t, "running", s.Stats().Running, 2)
		time.Sleep(20 * time.Second)
		l.wantCommands("FIN REQ", "FIN 3, FIN 1")
		stats := s.Stats()
		want(t, "finished", stats.Finished, 2)
		want(t, "lost", stats.Lost, 2)
		want(t, "connections to publish", len(d.all(nsqd1, false)), 0)
		s.wantStop(closeTime)
	})
}

// TestQueuedMessagesOfALostConnection: they are not handled, and do not count against the bound of
// the next connection.
func TestQueuedMessagesOfALostConnection(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		handled := 0
		s := d.run(func(context.Context, string) error {
			if handled++; handled == 1 {
				time.Sleep(time.Hour)
			}
			return nil
		}, nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(4))
		for i := range uint64(20) {
			l := d.line(nsqd1)
			l.send(4*i+1, 4*i+2, 4*i+3, 4*i+4)
			synctest.Wait()
			want(t, "connected", s.Stats().Connections[0].Connected, true)
			l.p.Close()
			time.Sleep(15 * time.Second)
			want(t, "last error", s.Stats().Connections[0].LastErr, nil)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		want(t, "handled", handled, 1)
		want(t, "lost", s.Stats().Lost, 80)
		want(t, "queued", s.Stats().Queued, 0)
		s.wantStop(closeTime)
	})
}

// TestRefusedAnswer: nsqd may refuse an answer that comes too late; the connection stays.
func TestRefusedAnswer(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		d.on = func(l *line, cmd fake.Command) bool {
			if cmd.Name == "FIN" {
				l.fail("E_FIN_FAILED FIN " + cmd.Params[0] + " failed ID not in flight")
			}
			return false
		}
		ev := &events{}
		s := d.run(done, nsqx.WithHooks(ev.hooks()), nsqx.WithConcurrency(1))
		l := d.line(nsqd1)
		l.send(1)
		l.send(2)
		l.wantCommands("FIN", "FIN 1, FIN 2")
		all := ev.all()
		if len(all) != 3 || all[1].what != "refused" || all[2].what != "refused" {
			t.Fatalf("events %v", all)
		}
		if fault, ok := errors.AsType[*conn.ServerError](all[1].Err); !ok || fault.Code != "E_FIN_FAILED" {
			t.Errorf("refused because of %v", all[1].Err)
		}
		want(t, "counted", s.Stats().Connections[0].Refused, 2)
		want(t, "logged", d.log.count(slog.LevelWarn, "refused"), 2)
		s.wantStop(closeTime)
	})
}
