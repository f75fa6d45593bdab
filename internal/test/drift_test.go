package test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
)

// An nsqd that counts more messages in flight than there are (row G5).

// twice publishes one message under one id twice, as nsqd's disk queue may have it after a kill.
func twice(s *nsqxtest.Server, n uint64) {
	id := handler.ID(fmt.Appendf(nil, "%016x", 1<<40+n))
	for range 2 {
		s.PublishMessage("orders", []byte("twice"), nsqxtest.WithID(id))
	}
}

// connOf is the only subscriber of a server.
func connOf(t *testing.T, s *nsqxtest.Server) *nsqxtest.ServerConn {
	t.Helper()
	synctest.Wait()
	conns := s.Conns()
	if len(conns) == 0 {
		t.Fatalf("%s: nobody is subscribed", s.Addr())
	}
	return conns[len(conns)-1]
}

// healed checks that n messages are handled soon, and says how long that took.
func healed(t *testing.T, s *nsqxtest.Server, n int, within time.Duration) {
	t.Helper()
	before, began := billing(s).Finished, time.Now()
	publish(s, n)
	s.Await("orders", "billing", finished(before+n))
	took := time.Since(began)
	t.Logf("%d messages took %v", n, took)
	if took > within {
		t.Errorf("%d messages took %v, want %v at most", n, took, within)
	}
}

// TestDriftG5: whatever nsqd counts, messages come.
func TestDriftG5(t *testing.T) {
	for _, drift := range []int{1, 200, 2499, 1 << 20} {
		for name, tt := range map[string]struct {
			opts    []nsqx.ConsumerOption
			handler time.Duration
		}{
			"defaults":          {},
			"slow handlers":     {opts: opts(nsqx.WithConcurrency(8)), handler: 100 * time.Millisecond},
			"small MaxInFlight": {opts: opts(nsqx.WithMaxInFlight(1))},
			"large MaxInFlight": {opts: opts(nsqx.WithMaxInFlight(100))},
			"fixed RDY":         {opts: opts(nsqx.WithMaxInFlight(3), nsqx.WithFixedRDY())},
		} {
			// Nothing tells the client of it; a delivery that went unanswered is its cause.
			bubble(t, fmt.Sprintf("%d, caused, %s", drift, name), func(t *testing.T) {
				s := nsqxtest.NewServer(t, nsqxtest.WithMessageTimeout(2*time.Second), nsqxtest.WithPatience(time.Hour))
				var events synced[observe.DriftEvent]
				var again atomic.Bool
				c, _ := consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
					if body == "late" && !again.Swap(true) {
						time.Sleep(3 * time.Second)
						s.Conns()[0].Drift(drift)
						return errBill
					}
					time.Sleep(tt.handler)
					return nil
				}, append(tt.opts, nsqx.WithHooks(observe.Hooks{OnDrift: events.add}))...)
				s.Publish("orders", []byte("late"))
				time.Sleep(3500 * time.Millisecond)
				within := 3 * time.Second
				if drift > 2400 {
					within = 3 * time.Minute // no RDY is high enough: only a new connection helps
				}
				healed(t, s, 20, within)
				time.Sleep(2 * time.Second)
				healed(t, s, 20, 400*time.Millisecond)
				st := c.Stats().Connections[0]
				if drift > 1 || name != "fixed RDY" { // which has room for one more
					want(t, "renewed", st.Renewed > 0, true)
					want(t, "events", len(events.all()) > 0, true)
				}
				want(t, "allowance", st.Allowance, 0)
				want(t, "health", c.Healthy() == nil, true)
				want(t, "violations", len(s.Violations()), 0)
			})
		}
	}
}

// TestDoubledG5: two deliveries under one id, and nsqd refuses the second FIN and counts nothing down. The connection
// allows for that at once, and is replaced when it is quiet.
func TestDoubledG5(t *testing.T) {
	for _, tt := range []struct {
		doubled int
		opts    []nsqx.ConsumerOption
		handler time.Duration
		busy    bool // other messages come all the time
	}{
		{doubled: 1},
		{doubled: 1, busy: true},
		{doubled: 1, busy: true, handler: 20 * time.Millisecond},
		{doubled: 1, opts: opts(nsqx.WithMaxInFlight(2))},
		{doubled: 1, opts: opts(nsqx.WithConcurrency(8)), handler: 100 * time.Millisecond},
		{doubled: 200, opts: opts(nsqx.WithConcurrency(8))},
		{doubled: 200, opts: opts(nsqx.WithConcurrency(8)), busy: true},
		{doubled: 200, opts: opts(nsqx.WithConcurrency(8)), handler: 5 * time.Millisecond},
		{doubled: 200, opts: opts(nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(4)), handler: 5 * time.Millisecond, busy: true},
	} {
		bubble(t, fmt.Sprintf("%d, busy %v, %v, %d options", tt.doubled, tt.busy, tt.handler, len(tt.opts)), func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Minute))
			var book logbook
			var events synced[observe.DriftEvent]
			c := makeConsumer(t, sleeps(max(tt.handler, time.Millisecond), nil), append(tt.opts, nsqxtest.Option(s),
				nsqx.WithHooks(observe.Hooks{OnDrift: events.add}), nsqx.WithLogger(slog.New(&book)))...)
			nsqxtest.Run(t, c)
			synctest.Wait()
			stop := make(chan struct{})
			var flow sync.WaitGroup
			if tt.busy {
				flow.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(10 * time.Millisecond):
							publish(s, 2)
						}
					}
				})
			}
			began := time.Now()
			for n := range tt.doubled {
				twice(s, uint64(n))
			}
			s.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished >= tt.doubled && st.Depth == 0 })
			t.Logf("the doubled took %v; drift %d, %+v", time.Since(began), connOf(t, s).InFlight(), c.Stats().Connections[0])
			healed(t, s, 20, time.Second)
			close(stop)
			flow.Wait()
			time.Sleep(time.Second)
			healed(t, s, 20, time.Second)
			st := c.Stats().Connections[0]
			want(t, "allowance when it is quiet", st.Allowance, 0)
			want(t, "drifted", st.Drifted > 0, true)
			want(t, "renewed", st.Renewed, 1)
			want(t, "dials", s.Dials(), 2)
			told := events.all()
			want(t, "events", len(told), 2)
			want(t, "cause", told[0].Err != nil && strings.Contains(told[0].Err.Error(), "E_FIN_FAILED"), true)
			want(t, "first the one, then the other", !told[0].Renewed && told[1].Renewed, true)
			want(t, "log records", book.count(slog.LevelWarn, "nsqd counts more"), 1)
			want(t, "log records", book.count(slog.LevelInfo, "connection is replaced"), 1)
		})
	}
}

// TestDriftInTurnsG5: a connection that takes turns with others, which are busy or quiet, is probed in its turns.
func TestDriftInTurnsG5(t *testing.T) {
	for _, busy := range []bool{false, true} {
		bubble(t, fmt.Sprintf("others are busy: %v", busy), func(t *testing.T) {
			servers := nsqxtest.NewServers(t, 5, nsqxtest.WithMessageTimeout(2*time.Second),
				nsqxtest.WithMaxInFlightCheck(2, 10*time.Millisecond), nsqxtest.WithPatience(time.Minute)) // a probe asks for one more
			s := servers[0]
			var again atomic.Bool
			c, _ := consume(t, servers, func(ctx context.Context, body string) error {
				if body == "late" && !again.Swap(true) {
					time.Sleep(3 * time.Second)
					s.Conns()[0].Drift(1)
					return errBill
				}
				time.Sleep(time.Millisecond)
				return nil
			}, nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(2))
			s.Publish("orders", []byte("late"))
			time.Sleep(3500 * time.Millisecond)
			if busy {
				for _, other := range servers[1:] {
					publish(other, 10_000)
				}
			}
			healed(t, s, 20, 15*time.Second)
			time.Sleep(20 * time.Second)
			want(t, "allowance when it is quiet", c.Stats().Connections[0].Allowance, 0)
			for _, other := range servers[1:] {
				want(t, "renewals of another", c.Stats().Connections[other.Conns()[0].N()].Renewed, 0)
			}
		})
	}
}

// TestRefusedForEverG5: an nsqd that refuses every answer gets RDY up to its limit, and is dialled anew less and less often.
func TestRefusedForEverG5(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMaxRDY(50), nsqxtest.WithPatience(time.Minute),
			nsqxtest.WithoutChecks(nsqxtest.CheckAnswers))
		refuse := func(_ *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
			return nsqxtest.Fail("E_FIN_FAILED FIN " + cmd.Param(0) + " failed ID not in flight")
		}
		s.On("FIN", refuse)
		c, _ := consume(t, []*nsqxtest.Server{s}, done, nsqx.WithConcurrency(4))
		for range 600 {
			publish(s, 1)
			time.Sleep(time.Second)
		}
		st := c.Stats().Connections[0]
		t.Logf("%d dials, %+v", s.Dials(), st)
		if st.Renewed < 5 || st.Renewed > 16 || s.Dials() != 1+int(st.Renewed) {
			t.Errorf("renewed %d times with %d dials in 10 min, want a few", st.Renewed, s.Dials())
		}
		if st.Allowance > 50 || st.RDY > 50 {
			t.Errorf("allowance %d, RDY %d, want 50 at most", st.Allowance, st.RDY)
		}
		s.On("FIN", nil)
		time.Sleep(2 * time.Minute)
		healed(t, s, 20, time.Second)
	})
}

// TestNoDriftG5: an answer was refused for another reason. The allowance, which would let nsqd buffer what is published
// singly, does not last.
func TestNoDriftG5(t *testing.T) {
	for name, tt := range map[string]struct{ gap, handler time.Duration }{
		"50 a second":              {20 * time.Millisecond, 0},
		"10 a second":              {100 * time.Millisecond, time.Millisecond},
		"3 a second":               {300 * time.Millisecond, 0},
		"3 a second, slow":         {300 * time.Millisecond, 100 * time.Millisecond},
		"one in 2 s":               {2 * time.Second, 0},
		"20 a second, slow":        {47 * time.Millisecond, 200 * time.Millisecond},
		"at random, 5 a second":    {-200 * time.Millisecond, 50 * time.Millisecond},
		"at random, 5 a s, slow":   {-200 * time.Millisecond, 290 * time.Millisecond},
		"one in 300 ms, very slow": {300 * time.Millisecond, 290 * time.Millisecond},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			refused := 0
			s.On("FIN", func(c *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
				if refused++; refused == 10 { // and is counted down all the same
					text := "E_FIN_FAILED FIN " + cmd.Param(0) + " failed ID not in flight"
					frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(text)))
					c.WriteRaw(append(binary.BigEndian.AppendUint32(frame, 1), text...))
				}
				return nsqxtest.Proceed()
			})
			var waits synced[time.Duration]
			c, _ := consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, _ string) error {
				waits.add(time.Since(handler.FromContext(ctx).Timestamp()))
				time.Sleep(tt.handler)
				return nil
			}, nsqx.WithConcurrency(8))
			random := rand.New(rand.NewPCG(1, 2))
			for range 2000 {
				publish(s, 1)
				gap := tt.gap
				if gap < 0 {
					gap = time.Duration(random.Int64N(int64(-2 * gap)))
				}
				time.Sleep(gap)
			}
			time.Sleep(time.Second)
			all := waits.all()
			slices.Sort(all)
			p99 := all[len(all)*99/100-1]
			t.Logf("p99 %v, %v at most; renewed %d times", p99, all[len(all)-1], c.Stats().Connections[0].Renewed)
			if p99 > 1200*time.Microsecond {
				t.Errorf("p99 is %v", p99)
			}
			st := c.Stats().Connections[0]
			want(t, "drifted", st.Drifted, 1)
			want(t, "allowance", st.Allowance, 0)
		})
	}
}

// TestLateFING5: nsqd refuses the FIN of a message that timed out, and is right. Nothing is wrong with its count.
func TestLateFING5(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMessageTimeout(2*time.Second))
		s := servers[0]
		_, _ = consume(t, servers, sleeps(time.Millisecond, nil), nsqx.WithConcurrency(1)) // another one gets it meanwhile
		c, _ := consume(t, servers, sleeps(3*time.Second, nil), nsqx.WithConcurrency(8))
		for range 20 {
			publish(s, 2)
			time.Sleep(5900 * time.Millisecond)
		}
		st := c.Stats().Connections[0]
		want(t, "refused", st.Refused > 0, true)
		want(t, "drifted", st.Drifted, 0)
		want(t, "renewed", st.Renewed, 0)
	})
}

// TestRenewG5: the new connection is there before the old one goes, whose handlers finish.
func TestRenewG5(t *testing.T) {
	for name, channelFull := range map[string]bool{"": false, "the channel takes one consumer": true} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Minute))
			var subscribed, most atomic.Int64
			s.On("SUB", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
				n := int64(s.Stats("orders", "billing").Subscribers) + 1
				if channelFull && n > 1 {
					return nsqxtest.Fail("E_SUB_FAILED channel consumers for orders:billing exceeds limit of 1")
				}
				subscribed.Store(n)
				most.Store(max(most.Load(), n))
				return nsqxtest.Proceed()
			})
			s.On("CLS", func(c *nsqxtest.ServerConn, _ nsqxtest.Command) nsqxtest.Action {
				publish(s, 1) // nsqd sends one more
				return nsqxtest.Proceed().After(10 * time.Millisecond)
			})
			c, _ := consume(t, []*nsqxtest.Server{s}, sleeps(5*time.Second, nil), nsqx.WithConcurrency(8))
			twice(s, 1)
			unhealthy := 0
			for range 10_000 {
				time.Sleep(time.Millisecond)
				if err := c.Healthy(); err != nil {
					unhealthy++
				}
			}
			s.Await("orders", "billing", finished(2))
			time.Sleep(time.Second)
			st := c.Stats().Connections[0]
			want(t, "renewed", st.Renewed, 1)
			want(t, "allowance", st.Allowance, 0)
			want(t, "lost", c.Stats().Lost, 0)
			want(t, "attempts", s.Attempts("orders", "billing", s.Finished("orders", "billing")[1]), 1)
			if channelFull {
				return
			}
			want(t, "most subscribers", most.Load(), 2)
			want(t, "subscribers", s.Stats("orders", "billing").Subscribers, 1)
			want(t, "milliseconds without health", unhealthy, 0)
			want(t, "dials", s.Dials(), 2)
		})
	}
}
