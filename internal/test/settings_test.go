package test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/nsqxtest"
)

// gauge counts handlers that run.
type gauge struct{ now, most, runs atomic.Int32 }

func (g *gauge) handler(d time.Duration) handler.Func[string] {
	return func(context.Context, string) error {
		g.runs.Add(1)
		n := g.now.Add(1)
		for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
		}
		defer g.now.Add(-1)
		time.Sleep(d)
		return nil
	}
}

// TestPause: what waits is given back at once, what runs finishes, and nothing starts until Resume.
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
		given := 0
		for _, s := range servers {
			given += billing(s).Requeued
			want(t, "RDY", rdy(t, s), 0)
			for _, r := range s.Requeues("orders", "billing") {
				want(t, "delay of what is given back", r.Delay, 0)
			}
		}
		want(t, "given back at once", given, inFlight-4)
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
		want(t, "given back in all", billing(servers[0]).Requeued+billing(servers[1]).Requeued, given)

		c.Pause() // again
		c.Resume()
		want(t, "paused", c.Stats().Paused, false)
		synctest.Wait()
		want(t, "runs when it goes on", g.runs.Load() > 4, true)
		for _, s := range servers {
			s.Await("orders", "billing", finished(50))
			want(t, "dials", s.Dials(), 1)
		}
		want(t, "handlers at once", g.most.Load(), 4)
	})
}

// TestPauseBeforeRun: it connects, and asks for nothing.
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

// TestPauseRaces with messages that come: when it has returned nothing waits for a handler, whatever comes.
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

// TestUnansweredInPause: what comes too late to be given back is left behind by id, although the consumer is paused.
func TestUnansweredInPause(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		n.on = onCLS(func(l *line) {
			l.say("CLOSE_WAIT")
			time.AfterFunc(orderly+time.Millisecond, func() { l.send(7) })
			time.Sleep(100 * time.Millisecond) // does not see the half-close before
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

// TestPauseAgainAndAgain under load: no handler starts while it is paused.
func TestPauseAgainAndAgain(t *testing.T) {
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
			synctest.Wait() // who had taken a message has started
			paused.Store(true)
			time.Sleep(53 * time.Millisecond)
			paused.Store(false)
			c.Resume()
		}
		s.Await("orders", "billing", finished(2000))
	})
}

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
			time.Sleep(60 * time.Millisecond) // those that are too many finish
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

// TestSetConcurrencyBeforeRun counts from the start.
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

func TestSetMaxInFlight(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 3, nsqxtest.WithMaxInFlightCheck(400, time.Millisecond), nsqxtest.WithPatience(time.Hour))
		c, _ := consume(t, servers, sleeper(200*time.Millisecond), nsqx.WithConcurrency(20), nsqx.WithMaxInFlight(30))
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

func TestSetFaults(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c, _ := consume(t, []*nsqxtest.Server{s}, done, nsqx.WithConcurrency(3), nsqx.WithMaxInFlight(5))
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
		want(t, "max in flight", c.Stats().MaxInFlight, 5)
	})
}

// TestSetAfterRun does nothing, and no harm.
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

// TestAutomatic is what handlers do in 100 ms, beside those that run.
func TestAutomatic(t *testing.T) {
	for name, tt := range map[string]struct {
		takes time.Duration
		want  int
		near  int
	}{
		"10 ms":  {10 * time.Millisecond, 4 + 40, 4},
		"100 ms": {100 * time.Millisecond, 8, 1},
		"3 s":    {3 * time.Second, 4, 0},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithMaxInFlightCheck(2500, time.Millisecond))
			c, _ := consume(t, []*nsqxtest.Server{s}, sleeper(tt.takes), nsqx.WithConcurrency(4))
			want(t, "max in flight before the first result", c.Stats().MaxInFlight, 4)
			publish(s, 10_000)
			time.Sleep(10*time.Second + 5*time.Millisecond) // never when handlers come and go
			for range 50 {
				time.Sleep(110 * time.Millisecond)
				if n := c.Stats().MaxInFlight; n < tt.want-tt.near || n > tt.want+tt.near {
					t.Errorf("max in flight of 4 handlers that take %v is %d, want %d", tt.takes, n, tt.want)
				}
				if n := c.Stats().Running; n != 4 {
					t.Errorf("%d handlers run, want 4", n)
				}
			}
			want(t, "REQs", billing(s).Requeued, 0)
		})
	}
}

// TestMaxInFlightBytes bounds what large bodies take.
func TestMaxInFlightBytes(t *testing.T) {
	for name, tt := range map[string]struct {
		size int
		opts []nsqx.ConsumerOption
		want int
	}{
		"defaults":  {1 << 20, nil, 64},
		"automatic": {100 << 10, opts(nsqx.WithMaxInFlightBytes(1 << 20)), 10},
		"fixed":     {100 << 10, opts(nsqx.WithMaxInFlightBytes(1<<20), nsqx.WithMaxInFlight(50)), 10},
		"small":     {100, opts(nsqx.WithMaxInFlightBytes(1<<20), nsqx.WithMaxInFlight(50)), 50},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Minute))
			c, _ := consume(t, []*nsqxtest.Server{s}, sleeper(10*time.Millisecond), append(tt.opts, nsqx.WithConcurrency(16))...)
			body := bytes.Repeat([]byte("x"), tt.size)
			for range 300 {
				s.Publish("orders", body)
			}
			s.Await("orders", "billing", finished(20))
			most := 0
			for billing(s).Finished < 300 {
				time.Sleep(time.Millisecond)
				if time.Since(s.Commands("SUB")[0].Time) > 200*time.Millisecond {
					most = max(most, billing(s).InFlight)
					want(t, "max in flight", c.Stats().MaxInFlight <= tt.want, true)
				}
			}
			if most > tt.want {
				t.Errorf("%d in flight, want %d at most", most, tt.want)
			}
		})
	}
}

// TestMaxInFlightBytesFollows: bodies count as they are of late, not since the start.
func TestMaxInFlightBytesFollows(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMaxInFlightCheck(50, time.Millisecond), nsqxtest.WithPatience(time.Minute))
		c, _ := consume(t, []*nsqxtest.Server{s}, sleeper(100*time.Millisecond), nsqx.WithMaxInFlightBytes(1<<20), nsqx.WithMaxInFlight(50), nsqx.WithConcurrency(16))
		settle := func(size, n, least, most int) {
			t.Helper()
			body := bytes.Repeat([]byte("x"), size)
			for range n {
				s.Publish("orders", body)
			}
			time.Sleep(5 * time.Second)
			if got := c.Stats().MaxInFlight; got < least || got > most {
				t.Errorf("max in flight is %d after 5s of %d bytes, want %d to %d", got, size, least, most)
			}
			s.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Depth+st.InFlight == 0 })
		}
		settle(100, 1500, 50, 50)
		settle(100<<10, 900, 10, 10)
		want(t, "dials", s.Dials(), 1)
		if n := billing(s).Requeued; n > 60 {
			t.Errorf("%d REQs until it has seen that bodies are larger now", n)
		}
		settle(100, 1500, 50, 50)
	})
}

// TestOneForEach: while it is idle, a consumer asks each nsqd for one, though it has fewer handlers.
func TestOneForEach(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 6)
		c, _ := consume(t, servers, done, nsqx.WithConcurrency(2))
		time.Sleep(time.Second)
		want(t, "max in flight", c.Stats().MaxInFlight, 6)
		for _, s := range servers {
			want(t, "RDY", rdy(t, s), 1)
			began := time.Now()
			publish(s, 1)
			s.Await("orders", "billing", finished(1))
			want(t, "wait", time.Since(began), 0)
		}
	})
}

// TestTwoConsumers of one channel get the same.
func TestTwoConsumers(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		var ends [2]atomic.Int64
		var longest atomic.Int64
		start := time.Now()
		for i := range ends {
			_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, _ string) error {
				m := handler.FromContext(ctx)
				longest.Store(max(longest.Load(), int64(time.Since(m.Received()))))
				time.Sleep(100 * time.Millisecond)
				ends[i].Store(int64(time.Since(start)))
				return nil
			}, nsqx.WithConcurrency(4))
		}
		ids := publish(s, 400)
		s.Await("orders", "billing", finished(400))
		a, b := time.Duration(ends[0].Load()), time.Duration(ends[1].Load())
		if diff := (a - b).Abs(); diff > max(a, b)/10 {
			t.Errorf("one ends after %v, the other after %v", a, b)
		}
		if took := max(a, b); took > 5500*time.Millisecond {
			t.Errorf("400 messages took %v, want 5s", took)
		}
		if waited := time.Duration(longest.Load()); waited > time.Second {
			t.Errorf("a message has waited %v in a client", waited)
		}
		wantAttempts(t, s, ids, 1)
	})
}

// TestUnlikeConsumers: nothing waits with the slow one while the other has free workers.
func TestUnlikeConsumers(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Minute))
		slow, _ := consume(t, []*nsqxtest.Server{s}, sleeper(3*time.Second), nsqx.WithConcurrency(4))
		fast, _ := consume(t, []*nsqxtest.Server{s}, sleeper(100*time.Millisecond), nsqx.WithConcurrency(4))
		publish(s, 400)
		began, waiting := time.Now(), 0
		for billing(s).Finished < 400 {
			time.Sleep(50 * time.Millisecond)
			if slow.Stats().Queued > 0 && fast.Stats().Running < 4 {
				waiting++
			} else {
				waiting = 0
			}
			if waiting > 20 {
				t.Fatalf("a message waits with the slow one for more than 1 s")
			}
		}
		if took := time.Since(began); took > 14*time.Second {
			t.Errorf("it took %v, want about 10 s", took)
		}
	})
}

// wakeups returns about how often goroutines of the process were scheduled while f ran.
func wakeups(f func()) (n uint64) {
	count := func() (n uint64) {
		sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
		metrics.Read(sample)
		for _, c := range sample[0].Value.Float64Histogram().Counts {
			n += c
		}
		return n
	}
	before := count()
	f()
	return count() - before
}

// TestIdle: a consumer without messages has nothing to do but to answer heartbeats, and to look each 10 min whether nsqd counts
// wrongly.
func TestIdle(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		ticking := wakeups(func() { // as many as a tick each 100 ms makes
			for range 36_000 {
				time.Sleep(100 * time.Millisecond)
			}
		})
		servers := nsqxtest.NewServers(t, 2)
		c, _ := consume(t, servers, done)
		for _, s := range servers {
			publish(s, 100)
			s.Await("orders", "billing", finished(100))
		}
		time.Sleep(time.Minute + time.Second)
		before := len(servers[0].Commands())
		idle := wakeups(func() { time.Sleep(time.Hour) })
		if 4*idle > ticking {
			t.Errorf("about %d wakeups in an idle hour; a tick each 100 ms makes %d", idle, ticking)
		}
		counts := make(map[string]int)
		for _, cmd := range servers[0].Commands()[before:] {
			counts[cmd.Name]++
		}
		want(t, "heartbeats answered", counts["NOP"], 120)
		want(t, "probes", c.Stats().Connections[0].Probed, 6)
		want(t, "RDYs", counts["RDY"], 6*2*16) // 16 steps up to 2500, and each time down to 1
		want(t, "kinds of commands in an idle hour", len(counts), 2)
		began := time.Now()
		publish(servers[1], 100)
		servers[1].Await("orders", "billing", finished(200))
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("100 messages after an idle hour took %v", took)
		}
		wantErr(t, "health", c.Healthy(), nil)
	})
}

// TestNoRDYAfterCLS: the server checks that; here, with a backlog, messages that finish, and settings that change in the drain.
func TestNoRDYAfterCLS(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 3, nsqxtest.WithMaxInFlightCheck(30, time.Millisecond))
		var g gauge
		c, stop := consume(t, servers, g.handler(700*time.Millisecond), nsqx.WithConcurrency(10), nsqx.WithMaxInFlight(30))
		for _, s := range servers {
			publish(s, 100)
		}
		time.Sleep(3 * time.Second)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			stop()
		}()
		time.Sleep(time.Millisecond)
		runs := g.runs.Load()
		_, _, _ = c.SetMaxInFlight(15), c.SetConcurrency(20), c.SetMaxInFlight(30)
		c.Pause()
		c.Resume()
		<-ended
		want(t, "runs in the drain", g.runs.Load(), runs)
		for _, s := range servers {
			want(t, "RDYs after CLS", afterCLS(s), 0)
			want(t, "in flight", billing(s).InFlight, 0)
			want(t, "timeouts", billing(s).TimedOut, 0)
		}
	})
}
