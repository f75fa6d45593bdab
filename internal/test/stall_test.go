package test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
)

// stubborn returns a handler that hangs until release is called, whatever its context says, and counts its runs.
func stubborn() (fn handler.Func[string], runs *atomic.Int32, release func()) {
	released := make(chan struct{})
	runs = new(atomic.Int32)
	return func(context.Context, string) error {
		runs.Add(1)
		<-released
		return nil
	}, runs, func() { close(released) }
}

// wantAttempts checks that no message was delivered more often than that.
func wantAttempts(t *testing.T, s *nsqxtest.Server, ids []handler.ID, most int) {
	t.Helper()
	above := 0
	for _, id := range ids {
		if s.Attempts("orders", "billing", id) > most {
			above++
		}
	}
	if above > 0 {
		t.Errorf("%d messages were delivered more than %d times", above, most)
	}
}

// TestStalledConsumer whose handlers all hang: what it has not started is with another one within 2 s, for one attempt.
func TestStalledConsumer(t *testing.T) {
	for name, opt := range map[string]nsqx.ConsumerOption{"window": nil, "fixed RDY": nsqx.WithFixedRDY()} {
		bubble(t, name, func(t *testing.T) {
			servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(100, time.Millisecond))
			s := servers[0]
			hang, runs, release := stubborn()
			_, _ = consume(t, servers, hang, nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(100), opt)
			ids := publish(s, 120)
			time.Sleep(300 * time.Millisecond)
			want(t, "in flight to the one that stalls", billing(s).InFlight, 100)

			var handled atomic.Int32
			_, _ = consume(t, servers, func(context.Context, string) error {
				handled.Add(1)
				return nil
			}, nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(100))
			time.Sleep(1700 * time.Millisecond)
			want(t, "handled elsewhere within 2 s", handled.Load(), 116)
			want(t, "REQs", billing(s).Requeued, 96)
			wantAttempts(t, s, ids, 2)

			publish(s, 50)
			time.Sleep(20 * time.Second)
			want(t, "started by the one that stalls", runs.Load(), 4)
			want(t, "REQs later", billing(s).Requeued, 96)
			want(t, "in flight later", billing(s).InFlight, 4)

			release()
			time.Sleep(300 * time.Millisecond) // it notices with its next tick
			before := runs.Load()
			publish(s, 200)
			time.Sleep(time.Second)
			want(t, "finished", billing(s).Finished, 370)
			if runs.Load() == before {
				t.Error("the one that had stalled handles nothing any more")
			}
			want(t, "timeouts", billing(s).TimedOut, 0)
			want(t, "REQs at last", billing(s).Requeued, 96)
		})
	}
}

// TestStallAlone: with nobody else to take them, what was given back waits at nsqd, and is not sent to and fro.
func TestStallAlone(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(100, time.Millisecond))
		s := servers[0]
		hang, _, release := stubborn()
		c, _ := consume(t, servers, hang, nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(100))
		ids := publish(s, 200)
		time.Sleep(20 * time.Second)
		st := billing(s)
		want(t, "in flight", st.InFlight, 4)
		want(t, "waiting at nsqd", st.Depth, 196)
		want(t, "REQs", st.Requeued, 96)
		want(t, "queued", c.Stats().Queued, 0)
		wantErr(t, "health", c.Healthy(), nil)
		rdys := len(s.Commands("RDY"))
		time.Sleep(20 * time.Second)
		want(t, "RDYs while nothing happens", len(s.Commands("RDY"))-rdys, 0)

		release()
		s.Await("orders", "billing", finished(200))
		wantAttempts(t, s, ids, 2)
		want(t, "REQs", billing(s).Requeued, 96)
		wantWhole(t, c, s, 100)
	})
}

// wantWhole checks that a consumer that was stalled gets its MaxInFlight back by handling messages quickly.
func wantWhole(t *testing.T, c *nsqx.Consumer[string], s *nsqxtest.Server, n int) {
	t.Helper()
	for range 20 {
		publish(s, 50)
		time.Sleep(200 * time.Millisecond)
	}
	want(t, "MaxInFlight at last", c.Stats().MaxInFlight, n)
}

// TestSlowHandlers are no stall that begins anew every second: MaxInFlight goes down to what handlers can do.
func TestSlowHandlers(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(60, time.Millisecond), nsqxtest.WithPatience(time.Hour))
		s := servers[0]
		_, _ = consume(t, servers, sleeper(3*time.Second), nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(60))
		began := time.Now()
		ids := publish(s, 60)
		s.Await("orders", "billing", finished(60))
		if took := time.Since(began); took > 91*time.Second {
			t.Errorf("60 messages took %v, want 90s: a worker was idle", took)
		}
		want(t, "REQs", billing(s).Requeued, 58)
		want(t, "timeouts", billing(s).TimedOut, 0)
		wantAttempts(t, s, ids, 2)
	})
}

// TestOverdueHandlers hang past the timeouts of their messages: nothing more is asked for, it is told once, and it goes on
// when they return.
func TestOverdueHandlers(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(10, time.Millisecond), nsqxtest.WithMessageTimeout(4*time.Second))
		s := servers[0]
		hang, runs, release := stubborn()
		var overdue synced[observe.OverdueEvent]
		var log logbook
		c := newLogged(t, &log, hang, nsqxtest.Option(servers...), nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(10),
			nsqx.WithHooks(observe.Hooks{OnOverdue: overdue.add}))
		nsqxtest.Run(t, c)
		synctest.Wait()
		ids := publish(s, 20)
		time.Sleep(3 * time.Second)
		wantErr(t, "health before the timeout", c.Healthy(), nil)
		want(t, "overdue before the timeout", len(overdue.all()), 0)

		time.Sleep(time.Minute)
		wantErr(t, "health", c.Healthy(), nsqx.ErrStuck)
		want(t, "runs", runs.Load(), 2)
		want(t, "RDY", rdy(t, s), 0)
		want(t, "max in flight", c.Stats().MaxInFlight, 0)
		st := billing(s)
		want(t, "in flight at nsqd", st.InFlight, 0)
		want(t, "timeouts", st.TimedOut, 2)
		want(t, "REQs", st.Requeued, 8)
		events := overdue.all()
		if len(events) != 2 {
			t.Fatalf("overdue events %v, want one for each of 2 messages", events)
		}
		if events[0].ID == events[1].ID {
			t.Errorf("both events are about %s", events[0].ID)
		}
		for _, e := range events {
			if e.NSQD != s.Addr() || e.Topic != "orders" || e.Channel != "billing" || e.ID != ids[0] && e.ID != ids[1] {
				t.Errorf("event %+v, want one of %s or %s at %s", e, ids[0], ids[1], s.Addr())
			}
			if e.Age < 3*time.Second || e.Age > 4*time.Second {
				t.Errorf("age of %s is %v, want between 3s and 4s: before nsqd gives it to someone else", e.ID, e.Age)
			}
			if n := log.count(slog.LevelWarn, "outlives its message"); n != 2 {
				t.Errorf("%d warnings, want 2", n)
			}
			if n := log.countAttrs("outlives", e.ID.String(), e.Age.Round(time.Millisecond).String()); n != 1 {
				t.Errorf("%d warnings with %s and %v, want 1", n, e.ID, e.Age)
			}
		}

		release()
		s.Await("orders", "billing", finished(20))
		wantErr(t, "health after that", c.Healthy(), nil)
		want(t, "overdue events at last", len(overdue.all()), 2)
		wantWhole(t, c, s, 10)
	})
}

// newLogged is newConsumer with a log to look at.
func newLogged(t *testing.T, log *logbook, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	return makeConsumer(t, fn, append(opts, nsqx.WithLogger(slog.New(log)))...)
}

// countAttrs returns how many records contain text and have attributes of all these values.
func (b *logbook) countAttrs(text string, values ...string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records {
		found := 0
		r.Attrs(func(a slog.Attr) bool {
			for _, v := range values {
				if a.Value.String() == v {
					found++
				}
			}
			return true
		})
		if strings.Contains(r.Message, text) && found == len(values) {
			n++
		}
	}
	return n
}

// TestOneOverdueHandler costs its place only.
func TestOneOverdueHandler(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(6, time.Millisecond), nsqxtest.WithMessageTimeout(4*time.Second))
		s := servers[0]
		release := make(chan struct{})
		c, _ := consume(t, servers, func(ctx context.Context, body string) error {
			if body == "hang" && handler.FromContext(ctx).Attempts == 1 {
				<-release
			}
			return nil
		}, nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(6))
		s.Publish("orders", []byte("hang"))
		time.Sleep(10 * time.Second)
		want(t, "max in flight", c.Stats().MaxInFlight, 5)
		wantErr(t, "health", c.Healthy(), nil)
		want(t, "finished, by the other worker", billing(s).Finished, 1)
		publish(s, 100)
		time.Sleep(time.Second)
		want(t, "finished", billing(s).Finished, 101)
		close(release)
		time.Sleep(time.Second)
		want(t, "max in flight when it has returned", c.Stats().MaxInFlight, 6)
	})
}

// TestBound is row R1: an nsqd that sends far more than RDY. Beyond twice MaxInFlight, the newest are given back for a second; if it
// goes on, the connection ends.
func TestBound(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithoutChecks(nsqxtest.CheckAnswers))
		hang, runs, release := stubborn()
		defer release()
		var ends synced[observe.ConnEvent]
		c, _ := consume(t, []*nsqxtest.Server{s}, hang, nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(10), nsqx.WithHooks(observe.Hooks{OnDisconnect: ends.add}))
		nsqd := s.Conns()[0]
		flood := func(first, n int) {
			var frames []byte
			for i := range n {
				frames = append(frames, fake.Message(time.Now().UnixNano(), fake.ID(uint64(first+i)), 1, []byte("x"))...)
			}
			nsqd.WriteRaw(frames)
			synctest.Wait()
		}
		flood(1, 2)
		want(t, "runs", runs.Load(), 2)
		const bound = 2*10 + 1
		flood(3, bound+9)
		want(t, "queued", c.Stats().Queued, bound)
		var requeued []string
		closed := false
		for _, cmd := range s.Commands("RDY", "REQ") {
			switch {
			case cmd.Name == "RDY":
				closed = closed || cmd.String() == "RDY 0"
			case !closed:
				t.Errorf("%s while RDY was not 0", cmd)
				fallthrough
			default:
				requeued = append(requeued, cmd.String())
			}
		}
		var newest []string
		for i := range 9 {
			newest = append(newest, fmt.Sprintf("REQ %s 1000", fake.ID(uint64(3+bound+i))))
		}
		want(t, "given back", strings.Join(requeued, ", "), strings.Join(newest, ", "))
		want(t, "connections", len(s.Conns()), 1)
		want(t, "ends", len(ends.all()), 0)

		flood(100, bound-9)
		want(t, "queued", c.Stats().Queued, bound)
		want(t, "ends at the last message that is borne", len(ends.all()), 0)
		flood(200, 1)
		synctest.Wait()
		want(t, "queued", c.Stats().Queued <= bound, true)
		events := ends.all()
		if len(events) != 1 || !strings.Contains(events[0].Err.Error(), "far more messages than RDY allows") {
			t.Fatalf("ends %v, want one that says why", events)
		}
		time.Sleep(time.Second)
		want(t, "dials", s.Dials(), 2)
		want(t, "subscribed again", billing(s).Subscribers, 1)
		want(t, "runs", runs.Load(), 2)
	})
}

// TestBoundOfBytes: bodies that are larger than those before are given back beyond twice WithMaxInFlightBytes, RDY first. That is
// no fault of nsqd's, and it is not cut off.
func TestBoundOfBytes(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithMaxInFlightCheck(50, time.Millisecond))
		hang, runs, release := stubborn()
		c, _ := consume(t, []*nsqxtest.Server{s}, hang, nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(50),
			nsqx.WithFixedRDY(), nsqx.WithMaxInFlightBytes(1<<20))
		large := bytes.Repeat([]byte("x"), 100_000)
		var bodies [][]byte
		for range 40 {
			bodies = append(bodies, large)
		}
		ids := s.Publish("orders", bodies...)
		time.Sleep(500 * time.Millisecond) // nsqd buffers the last ones
		const waiting = 20                 // 2 MiB of them
		want(t, "runs", runs.Load(), 2)
		want(t, "queued", c.Stats().Queued, waiting)
		closed, requeued := false, 0
		for _, cmd := range s.Commands("RDY", "REQ") {
			switch {
			case cmd.Name == "RDY":
				closed = cmd.String() == "RDY 0"
				continue
			case !closed && requeued == 0:
				t.Errorf("%s while RDY was not 0", cmd)
			case !strings.HasSuffix(cmd.String(), " 1000"):
				t.Errorf("%s, want a second", cmd)
			}
			requeued++
		}
		want(t, "given back", requeued, len(ids)-2-waiting)
		wantAttempts(t, s, ids[:2+waiting], 1)
		want(t, "max in flight", c.Stats().MaxInFlight, 10)
		release()
		s.Await("orders", "billing", finished(40))
		want(t, "dials", s.Dials(), 1)
		wantAttempts(t, s, ids, 3)
	})
}

// TestBoundForgets: what was too much a while ago does not count.
func TestBoundForgets(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithoutChecks(nsqxtest.CheckAnswers))
		drop := func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return nsqxtest.Drop() }
		s.On("FIN", drop) // the server does not know what is sent here
		s.On("REQ", drop)
		c, _ := consume(t, []*nsqxtest.Server{s}, sleeper(time.Millisecond), nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(10))
		for round := range 20 {
			var frames []byte
			for i := range 35 {
				frames = append(frames, fake.Message(time.Now().UnixNano(), fake.ID(uint64(1+round*100+i)), 1, []byte("x"))...)
			}
			s.Conns()[0].WriteRaw(frames)
			time.Sleep(time.Second)
			want(t, "queued", c.Stats().Queued, 0)
		}
		want(t, "dials", s.Dials(), 1)
		st := c.Stats()
		if st.Requeued < 20*10 || st.Finished+st.Requeued != 20*35 {
			t.Errorf("%d finished and %d requeued of %d, want 200 requeued at least", st.Finished, st.Requeued, 20*35)
		}
	})
}
