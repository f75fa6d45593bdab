package test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestPause: waiting messages are requeued at once, running ones finish, and none starts until
// Resume.
func TestPause(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 2, nsqxtest.WithMaxInFlightCheck(20, time.Millisecond), nsqxtest.WithPatience(time.Minute))
		var g gauge
		c, _ := consume(t, servers, g.handler(500*time.Millisecond), nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(20))
		for _, s := range servers {
			publish(s, 50)
		}
		time.Sleep(200 * time.Millisecond)
		want(t, "runs", g.runs.Load(), 4)
		inFlight := 0
		for _, s := range servers {
			inFlight += billing(s).InFlight
		}
		c.Pause()
		requeued := 0
		for _, s := range servers {
			requeued += billing(s).Requeued
			want(t, "RDY", rdy(t, s), 0)
			for _, r := range s.Requeues("orders", "billing") {
				want(t, "delay of a requeued message", r.Delay, 0)
			}
		}
		want(t, "requeued at once", requeued, inFlight-4)
		st := c.Stats()
		want(t, "paused", st.Paused, true)
		want(t, "queued", st.Queued, 0)
		want(t, "running", st.Running, 4)
		wantErr(t, "health", c.Healthy(), nil)
		time.Sleep(time.Minute)
		want(t, "runs in the pause", g.runs.Load(), 4)
		want(t, "max in flight", c.Stats().MaxInFlight, 0)
		finishedNow := billing(servers[0]).Finished + billing(servers[1]).Finished
		want(t, "finished in the pause", finishedNow, 4)
		want(t, "requeued in all", billing(servers[0]).Requeued+billing(servers[1]).Requeued, requeued)

		c.Pause() // again
		c.Resume()
		want(t, "paused", c.Stats().Paused, false)
		synctest.Wait()
		want(t, "runs after Resume", g.runs.Load() > 4, true)
		for _, s := range servers {
			s.Await("orders", "billing", finished(50))
			want(t, "dials", s.Dials(), 1)
		}
		want(t, "handlers at once", g.most.Load(), 4)
	})
}

// TestPauseBeforeRun: a paused consumer connects, but its RDY is 0.
func TestPauseBeforeRun(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		var g gauge
		c := newConsumer(t, g.handler(0), s.Option())
		c.Pause()
		want(t, "paused", c.Stats().Paused, true)
		publish(s, 10)
		stop := nsqxtest.Run(t, c)
		time.Sleep(time.Hour)
		want(t, "subscribed", billing(s).Subscribers, 1)
		wantReady(t, c, true, nil)
		want(t, "runs", g.runs.Load(), 0)
		for _, cmd := range s.Commands("RDY") {
			want(t, "RDY in the pause", cmd.Param(0), "0")
		}
		s.Disconnect() // a new connection is paused, too
		time.Sleep(time.Minute)
		want(t, "subscribed again", billing(s).Subscribers, 1)
		want(t, "runs", g.runs.Load(), 0)
		c.Resume()
		s.Await("orders", "billing", finished(10))
		c.Pause()
		stop()
	})
}

// TestPauseRaces: when Pause has returned no message waits for a handler, whatever arrives
// meanwhile.
func TestPauseRaces(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		s := n.run(done, nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(2000))
		l := n.line(nsqd1)
		for i := range uint64(200) {
			before := s.Stats().Connections[0].Received
			var flood sync.WaitGroup
			flood.Go(func() { l.flood(1+i<<16, 1000) })
			for s.Stats().Connections[0].Received-before < i {
				runtime.Gosched()
			}
			s.Pause()
			queued := 0
			for range 10 {
				queued = max(queued, s.Stats().Queued)
			}
			flood.Wait()
			synctest.Wait()
			if queued = max(queued, s.Stats().Queued); queued != 0 {
				t.Fatalf("pause %d: %d messages wait for a handler", i, queued)
			}
			s.Resume()
			synctest.Wait()
		}
	})
}

// TestUnansweredInPause: a message that comes too late to be requeued is reported by its id, even
// if the consumer is paused.
func TestUnansweredInPause(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		n.on = onCLS(func(l *line) {
			l.say("CLOSE_WAIT")
			time.AfterFunc(closeTime+time.Millisecond, func() { l.send(7) })
			time.Sleep(100 * time.Millisecond) // delays reading the half-close
		})
		s := n.run(done)
		synctest.Wait()
		s.Pause()
		_, err := s.stop()
		e, ok := errors.AsType[*nsqx.ShutdownError](err)
		if !ok || len(e.Unanswered) != 1 || e.Unanswered[0].ID.String() != fake.ID(7) || e.Unanswered[0].Requeued {
			t.Fatalf("Run returned %v, want message %s unanswered", err, fake.ID(7))
		}
	})
}

// TestPauseRepeatedly: under load no handler starts while the consumer is paused.
func TestPauseRepeatedly(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(50, time.Millisecond), nsqxtest.WithPatience(time.Minute))
		s := servers[0]
		var g gauge
		var paused atomic.Bool
		handle := g.handler(time.Millisecond)
		c, _ := consume(t, servers, func(ctx context.Context, body string) error {
			if paused.Load() {
				t.Error("a handler starts in a pause")
			}
			return handle(ctx, body)
		}, nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(50))
		publish(s, 2000)
		for range 50 {
			time.Sleep(7 * time.Millisecond)
			c.Pause()
			synctest.Wait() // handlers of messages already taken start
			paused.Store(true)
			time.Sleep(53 * time.Millisecond)
			paused.Store(false)
			c.Resume()
		}
		s.Await("orders", "billing", finished(2000))
	})
}

// TestSetConcurrencyUnderLoad: the number of running handlers follows SetConcurrency.
func TestSetConcurrencyUnderLoad(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(100, time.Millisecond), nsqxtest.WithPatience(time.Hour))
		s := servers[0]
		var g gauge
		c, _ := consume(t, servers, g.handler(50*time.Millisecond), nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(100))
		publish(s, 10_000)
		for _, n := range []int{2, 10, 3, 1, 64, 5} {
			if err := c.SetConcurrency(n); err != nil {
				t.Error(err)
			}
			want(t, "concurrency", c.Stats().Concurrency, n)
			time.Sleep(60 * time.Millisecond) // until surplus handlers have finished
			g.most.Store(0)
			before := g.runs.Load()
			time.Sleep(5 * time.Second)
			want(t, "handlers at once", g.most.Load(), int32(n))
			if runs := int(g.runs.Load() - before); runs < 99*n || runs > 101*n {
				t.Errorf("%d runs in 5 s with %d handlers of 50 ms, want %d", runs, n, 100*n)
			}
			synctest.Wait()
		}
		want(t, "timeouts", billing(s).TimedOut, 0)
	})
}

// TestSetConcurrencyBeforeRun: SetConcurrency before Run applies from the start.
func TestSetConcurrencyBeforeRun(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		var g gauge
		c := newConsumer(t, g.handler(time.Second), s.Option(), nsqx.WithConcurrency(2))
		if err := c.SetConcurrency(7); err != nil {
			t.Error(err)
		}
		nsqxtest.Run(t, c)
		publish(s, 100)
		time.Sleep(4 * time.Second)
		want(t, "handlers at once", g.most.Load(), 7)
		c.Pause()
	})
}

// TestSetMaxInFlight: the messages in flight follow SetMaxInFlight; 0 is automatic.
func TestSetMaxInFlight(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 3, nsqxtest.WithMaxInFlightCheck(400, time.Millisecond), nsqxtest.WithPatience(time.Hour))
		c, _ := consume(t, servers, sleeps(200*time.Millisecond, nil), nsqx.WithConcurrency(20), nsqx.WithMaxInFlight(30))
		for _, s := range servers {
			publish(s, 5000)
		}
		sum := func() (rdys, inFlight int) {
			for _, s := range servers {
				rdys += rdy(t, s)
				inFlight += billing(s).InFlight
			}
			return rdys, inFlight
		}
		for _, tt := range []struct{ set, want int }{{30, 30}, {60, 60}, {20, 20}, {2, 2}, {70, 70}, {0, 32}, {25, 25}} {
			if err := c.SetMaxInFlight(tt.set); err != nil {
				t.Error(err)
			}
			time.Sleep(3 * time.Second)
			rdys, inFlight := sum()
			if rdys > tt.want || inFlight > tt.want || inFlight < tt.want*8/10 {
				t.Errorf("SetMaxInFlight(%d): RDYs add up to %d, %d in flight, want %d", tt.set, rdys, inFlight, tt.want)
			}
			if n := c.Stats().MaxInFlight; n > tt.want || n < tt.want*8/10 {
				t.Errorf("SetMaxInFlight(%d): max in flight is %d, want %d", tt.set, n, tt.want)
			}
		}
	})
}

// TestSetFaults: a setting out of range is refused and changes nothing.
func TestSetFaults(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c, _ := consume(t, []*nsqxtest.Server{s}, done, nsqx.WithConcurrency(3), nsqx.WithMaxInFlight(2))
		for name, tt := range map[string]struct {
			err    error
			reason string
		}{
			"SetConcurrency":  {c.SetConcurrency(0), "is 0, want 1 to 65536"},
			"SetConcurrency ": {c.SetConcurrency(65537), "is 65537, want 1 to 65536"},
			"SetMaxInFlight":  {c.SetMaxInFlight(-1), "is -1, want 0 to 1048576"},
			"SetMaxInFlight ": {c.SetMaxInFlight(1<<20 + 1), "is 1048577, want 0 to 1048576"},
		} {
			fault, ok := errors.AsType[*nsqx.OptionError](tt.err)
			if !ok || *fault != (nsqx.OptionError{Option: strings.TrimSpace(name), Reason: tt.reason}) {
				t.Errorf("error is %v, want that %s %s", tt.err, name, tt.reason)
			}
		}
		want(t, "concurrency", c.Stats().Concurrency, 3)
		want(t, "max in flight", c.Stats().MaxInFlight, 2)
	})
}

// TestSetAfterRun: settings after Run have no effect.
func TestSetAfterRun(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c, stop := consume(t, []*nsqxtest.Server{s}, done)
		stop()
		wantErr(t, "SetConcurrency", c.SetConcurrency(9), nil)
		wantErr(t, "SetMaxInFlight", c.SetMaxInFlight(9), nil)
		c.Pause()
		c.Resume()
		synctest.Wait()
	})
}
