package test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
)

// TestStalledConsumer: all handlers hang. Within 2 s another consumer has the messages that were
// not started, for one more attempt.
func TestStalledConsumer(t *testing.T) {
	for name, tt := range map[string]struct {
		opt      nsqx.ConsumerOption
		inFlight int // to the one that stalls
	}{
		"capacity":  {nil, 4}, // it asks for no message that it cannot start
		"fixed RDY": {nsqx.WithFixedRDY(), 100},
	} {
		bubble(t, name, func(t *testing.T) {
			givenBack := tt.inFlight - 4
			servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(100, time.Millisecond))
			s := servers[0]
			hang, runs, release := hangs()
			_, _ = consume(t, servers, hang, nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(100), tt.opt)
			ids := publish(s, 120)
			time.Sleep(300 * time.Millisecond)
			want(t, "in flight to the stalled consumer", billing(s).InFlight, tt.inFlight)

			var handled atomic.Int32
			_, _ = consume(t, servers, func(context.Context, string) error {
				handled.Add(1)
				return nil
			}, nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(100))
			time.Sleep(1700 * time.Millisecond)
			want(t, "handled elsewhere within 2 s", handled.Load(), 116)
			want(t, "REQs", billing(s).Requeued, givenBack)
			wantAttempts(t, s, ids, 1+min(givenBack, 1))

			publish(s, 50)
			time.Sleep(20 * time.Second)
			want(t, "started by the stalled consumer", runs.Load(), 4)
			want(t, "REQs later", billing(s).Requeued, givenBack)
			want(t, "in flight later", billing(s).InFlight, 4)

			release()
			time.Sleep(300 * time.Millisecond) // until its next tick
			before := runs.Load()
			publish(s, 200)
			time.Sleep(time.Second)
			want(t, "finished", billing(s).Finished, 370)
			if runs.Load() == before {
				t.Error("the stalled consumer handles nothing after its handlers returned")
			}
			want(t, "timeouts", billing(s).TimedOut, 0)
			want(t, "REQs at the end", billing(s).Requeued, givenBack)
		})
	}
}

// TestStallAlone: without another consumer the requeued messages stay at nsqd, and are not sent
// back and forth.
func TestStallAlone(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(100, time.Millisecond))
		s := servers[0]
		hang, _, release := hangs()
		c, _ := consume(t, servers, hang, nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(100), nsqx.WithFixedRDY())
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
		want(t, "max in flight, for a minute after messages were given back", c.Stats().MaxInFlight, 4)
		time.Sleep(time.Minute)
		wantFullCapacity(t, c, s, 100)
	})
}

// TestSlowHandlers: however slow handlers are, no message is requested that they cannot start, so
// none is given back.
func TestSlowHandlers(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(60, time.Millisecond), nsqxtest.WithPatience(time.Hour))
		s := servers[0]
		_, _ = consume(t, servers, sleeps(3*time.Second, nil), nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(60))
		began := time.Now()
		ids := publish(s, 60)
		s.Await("orders", "billing", finished(60))
		if took := time.Since(began); took > 91*time.Second {
			t.Errorf("60 messages took %v, want 90s: a worker was idle", took)
		}
		want(t, "REQs", billing(s).Requeued, 0)
		want(t, "timeouts", billing(s).TimedOut, 0)
		wantAttempts(t, s, ids, 1)
	})
}

// TestOverdueHandlers: while handlers hang past their message timeouts nothing more is requested,
// and each is reported once. When they return, the consumer continues.
func TestOverdueHandlers(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 1, nsqxtest.WithMaxInFlightCheck(10, time.Millisecond), nsqxtest.WithMessageTimeout(4*time.Second))
		s := servers[0]
		hang, runs, release := hangs()
		var overdue synced[observe.OverdueEvent]
		var log logbook
		c := newLoggedConsumer(t, &log, hang, nsqxtest.Option(servers...), nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(10),
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
		want(t, "REQs", st.Requeued, 0)
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
			if n := log.count(slog.LevelWarn, "handler outlives its message"); n != 2 {
				t.Errorf("%d warnings, want 2", n)
			}
			if n := log.countAttrs("handler outlives", e.ID.String(), fmt.Sprint(math.Round(e.Age.Seconds()*1000)/1000)); n != 1 {
				t.Errorf("%d warnings with %s and %v, want 1", n, e.ID, e.Age)
			}
		}

		release()
		s.Await("orders", "billing", finished(20))
		wantErr(t, "health after that", c.Healthy(), nil)
		want(t, "overdue events at the end", len(overdue.all()), 2)
		wantFullCapacity(t, c, s, 10)
	})
}

// TestOneOverdueHandler: one handler that hangs takes a worker, and makes the consumer ask for no
// message ahead: its time counts as service time.
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
		want(t, "max in flight", c.Stats().MaxInFlight, 1)
		wantErr(t, "health", c.Healthy(), nil)
		want(t, "finished, by the other worker", billing(s).Finished, 1)
		publish(s, 100)
		time.Sleep(time.Second)
		want(t, "finished", billing(s).Finished, 101)
		close(release)
		time.Sleep(time.Second)
		want(t, "max in flight after it returned", c.Stats().MaxInFlight, 6)
	})
}
