package test

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// TestServiceTimeOfQuietTopic: single messages, each handled between two samples of the workers, do
// not make handlers look infinitely fast. Otherwise the whole of the next burst would be fetched
// and requeued.
func TestServiceTimeOfQuietTopic(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c, _ := consume(t, []*nsqxtest.Server{s}, sleeps(10*time.Millisecond, nil), nsqx.WithConcurrency(4))
		most := 0
		for range 20 {
			publish(s, 1)
			time.Sleep(time.Second)
			most = max(most, c.Stats().MaxInFlight)
		}
		if most > 88 {
			t.Errorf("max in flight of 4 handlers that take 10 ms was %d, want about 44", most)
		}
		publish(s, 3000)
		s.Await("orders", "billing", finished(3020))
		want(t, "REQs of a burst", billing(s).Requeued, 0)
	})
}

// TestServiceTimeIsMeasuredEarly: fast handlers are noticed before the next tick, at the start and
// when the first message comes later.
func TestServiceTimeIsMeasuredEarly(t *testing.T) {
	for name, wait := range map[string]time.Duration{"start": 0, "later": time.Minute} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			c, _ := consume(t, []*nsqxtest.Server{s}, sleeps(time.Millisecond, nil), nsqx.WithConcurrency(4))
			time.Sleep(wait)
			publish(s, 1000)
			time.Sleep(15 * time.Millisecond)
			if n := c.Stats().MaxInFlight; n < 60 {
				t.Errorf("max in flight of 4 handlers that take 1 ms is %d after 15 ms, want about 80: twice the results", n)
			}
			s.Await("orders", "billing", finished(1000))
		})
	}
}

// TestBacklog: a backlog opens the window up to MaxInFlight, never beyond.
func TestBacklog(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMaxInFlightCheck(200, time.Millisecond))
		_, _ = consume(t, []*nsqxtest.Server{s}, sleeps(time.Millisecond, nil), nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(200))
		want(t, "RDY of a quiet topic", rdy(t, s), 1)
		publish(s, 5000)
		s.Await("orders", "billing", finished(1000))
		want(t, "RDY", rdy(t, s), 200)
		most := 0
		for _, cmd := range s.Commands("RDY") {
			n, _ := strconv.Atoi(cmd.Param(0))
			most = max(most, n)
		}
		want(t, "highest RDY", most, 200)
		s.Await("orders", "billing", finished(5000))
		time.Sleep(2 * time.Second)
		want(t, "RDY when it is quiet again", rdy(t, s), 1)
	})
}

// TestAutomaticMaxInFlight: the automatic MaxInFlight is what handlers do in 100 ms, plus one
// message for each handler.
func TestAutomaticMaxInFlight(t *testing.T) {
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
			c, _ := consume(t, []*nsqxtest.Server{s}, sleeps(tt.takes, nil), nsqx.WithConcurrency(4))
			want(t, "max in flight before the first result", c.Stats().MaxInFlight, 4)
			publish(s, 10_000)
			time.Sleep(10*time.Second + 5*time.Millisecond) // between the ends of handlers
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

// TestMaxInFlightBytes: large bodies lower the number of messages in flight.
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
			c, _ := consume(t, []*nsqxtest.Server{s}, sleeps(10*time.Millisecond, nil), append(tt.opts, nsqx.WithConcurrency(16))...)
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

// TestMaxInFlightBytesFollows: the average size of bodies is a recent one, not that since the
// start.
func TestMaxInFlightBytesFollows(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMaxInFlightCheck(50, time.Millisecond), nsqxtest.WithPatience(time.Minute))
		c, _ := consume(t, []*nsqxtest.Server{s}, sleeps(100*time.Millisecond, nil), nsqx.WithMaxInFlightBytes(1<<20), nsqx.WithMaxInFlight(50), nsqx.WithConcurrency(16))
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
			t.Errorf("%d REQs until larger bodies are noticed", n)
		}
		settle(100, 1500, 50, 50)
	})
}

// TestOneMessagePerNSQD: an idle consumer has RDY 1 at each nsqd, even with fewer handlers.
func TestOneMessagePerNSQD(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 6)
		c, _ := consume(t, servers, done, nsqx.WithConcurrency(2))
		time.Sleep(time.Second)
		want(t, "max in flight", c.Stats().MaxInFlight, 6)
		want(t, "RDY before the first message", rdy(t, servers[0]), 1)
		publish(servers[0], 1) // shows that handlers are quick
		time.Sleep(time.Second)
		for i, s := range servers {
			want(t, "RDY", rdy(t, s), 1)
			began := time.Now()
			publish(s, 1)
			s.Await("orders", "billing", finished(1+(6-i)/6))
			want(t, "wait", time.Since(began), 0)
		}
	})
}

// TestTwoConsumers: two equal consumers of one channel handle equally much.
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

// TestSlowAndFastConsumer: no message waits at the slow consumer while the fast one has free
// workers.
func TestSlowAndFastConsumer(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Minute))
		slow, _ := consume(t, []*nsqxtest.Server{s}, sleeps(3*time.Second, nil), nsqx.WithConcurrency(4))
		fast, _ := consume(t, []*nsqxtest.Server{s}, sleeps(100*time.Millisecond, nil), nsqx.WithConcurrency(4))
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

// TestIdle: a consumer without messages answers heartbeats, and looks each 10 min whether nsqd counts wrongly.
func TestIdle(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		ticking := wakeups(func() { // a tick each 100 ms
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

// TestQuickFailures: handlers that fail at once, since what they need is away, do not tell how long a success takes. The
// burst after that is not requested by handlers that cannot start it.
func TestQuickFailures(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Minute))
		var back atomic.Bool
		c, _ := consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
			if !back.Load() {
				return errors.New("the database is down")
			}
			time.Sleep(1500 * time.Millisecond)
			return nil
		}, nsqx.WithConcurrency(4), nsqx.WithRetry(retry.Linear(time.Second, time.Second)), nsqx.WithoutBackoff())
		publish(s, 4)
		time.Sleep(time.Minute)
		back.Store(true)
		publish(s, 60)
		s.Await("orders", "billing", finished(64))
		want(t, "given back", c.Stats().GivenBack, 0)
	})
}

// TestServiceTimeOfDrops: a handler that drops, or puts off, what it gets is as quick as it is.
func TestServiceTimeOfDrops(t *testing.T) {
	for name, answer := range map[string]error{"finish": nil, "drop": retry.Drop(errors.New("not ours")), "later": retry.After(time.Minute, nil)} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			c, _ := consume(t, []*nsqxtest.Server{s}, sleeps(2*time.Millisecond, answer), nsqx.WithConcurrency(4))
			publish(s, 2000)
			time.Sleep(700 * time.Millisecond)
			if n := c.Stats().MaxInFlight; n < 150 {
				t.Errorf("max in flight of 4 handlers that take 2 ms is %d, want about 200", n)
			}
		})
	}
}
