package control

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/notify"
)

// TestCountTimedOut: running messages that nsqd has given to others are counted by connection, and
// warned of once a message.
func TestCountTimedOut(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		returns := map[string]chan struct{}{}
		for n := range 5 {
			returns[idOf(n)] = make(chan struct{})
		}
		s := newService(t, Config{Concurrency: 4, MaxInFlight: 10}, func(d *handler.Delivery) error {
			<-returns[d.ID.String()]
			return nil
		})
		s.identify = map[string]any{"msg_timeout": 4000}
		s.Start()
		first, second := s.dial(nsqd1), s.dial(nsqd2)
		first.flood(1, 2)
		second.flood(3, 1)
		count := func() int {
			synctest.Wait()
			return s.countTimedOut(s.pool.Snapshot().Running)
		}
		warnings := func() int { return len(s.posted(notify.Overdue)) }
		time.Sleep(3 * time.Second)
		want(t, "timed out, too early", count(), 0)
		want(t, "held, too early", first.conn.Load(false).Held, 2)
		time.Sleep(2 * time.Second)
		for range 3 {
			want(t, "timed out", count(), 3)
			want(t, "warnings", warnings(), 3)
		}
		want(t, "held", first.conn.Load(false).Held, 0) // nsqd counts them no more
		ages := map[string]string{}
		for _, ev := range s.posted(notify.Overdue) {
			ages[ev.Message.String()] = ev.NSQD + " " + ev.Age.String()
		}
		if !reflect.DeepEqual(ages, map[string]string{idOf(1): nsqd1 + " 5s", idOf(2): nsqd1 + " 5s", idOf(3): nsqd2 + " 5s"}) {
			t.Errorf("warnings of %v", ages)
		}

		second.flood(4, 1)
		time.Sleep(5 * time.Second)
		want(t, "timed out, with another", count(), 4)
		want(t, "warnings, with another", warnings(), 4)
		close(returns[idOf(1)])
		want(t, "timed out, when one has returned", count(), 3)
		want(t, "warned messages kept", len(s.warned), 3)
		second.end()
		want(t, "timed out, when a connection has ended", count(), 1)
		want(t, "warnings at last", warnings(), 4)
		close(returns[idOf(2)])
		want(t, "timed out at last", count(), 0)
		want(t, "warned messages kept at last", len(s.warned), 0)
		close(returns[idOf(3)])
		close(returns[idOf(4)])
	})
}

// TestMeasureTimedOut: a tick counts them for Stuck and for what may be in flight.
func TestMeasureTimedOut(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{Concurrency: 2, MaxInFlight: 10}, handle)
		s.identify = map[string]any{"msg_timeout": 4000}
		s.Start()
		l := s.dial(nsqd1)
		l.flood(1, 1)
		time.Sleep(5 * time.Second)
		s.measure()
		s.adjust(true)
		want(t, "max in flight", s.State().MaxInFlight, 9)
		want(t, "stuck, one of two", s.Stuck(), false)
		l.flood(2, 1)
		time.Sleep(5 * time.Second)
		s.measure()
		want(t, "stuck", s.Stuck(), true)
		s.SetConcurrency(3)
		want(t, "stuck with a third worker", s.Stuck(), false)
		release()
		synctest.Wait()
		s.measure()
		s.adjust(true)
		want(t, "max in flight at last", s.State().MaxInFlight, 10)
	})
}

// TestBatchSize: what a worker does in 200 µs; the pool takes at least 1.
func TestBatchSize(t *testing.T) {
	for _, tt := range []struct {
		mean time.Duration // -1: unknown
		want int
	}{
		{-1, 1}, {0, 200_000}, {1, 200_000}, {time.Microsecond, 200}, {50 * time.Microsecond, 4}, {150 * time.Microsecond, 1},
		{ms, 0}, {time.Hour, 0},
	} {
		var c Control
		if tt.mean >= 0 {
			c.service.Add(tt.mean, 1)
		}
		want(t, "batch size for "+tt.mean.String(), c.batchSize(), tt.want)
	}
}

// TestMeasureService: the service time comes from busy workers, running handlers included.
func TestMeasureService(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{Concurrency: 2, MaxInFlight: 50}, takes(300*ms))
		s.Start()
		l := s.dial(nsqd1)
		l.flood(1, 2)
		time.Sleep(200 * ms)
		s.measure()
		_, known := s.Control.service.Time()
		want(t, "known before the first result", known, false)
		time.Sleep(200 * ms)
		s.measure()
		mean, known := s.Control.service.Time()
		want(t, "known", known, true)
		if mean < 270*ms || mean > 300*ms { // the first tick has faded a little
			t.Errorf("the service time is %v, want about 300ms", mean)
		}
		want(t, "results", s.results, 2)
		want(t, "busy time", s.busyTime, 600*ms)
	})
}

// TestLook: between ticks the loads of the last period count, too.
func TestLook(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{Concurrency: 10, MaxInFlight: 50}, takes(0))
		s.Start()
		l := s.dial(nsqd1)
		l.conn.SetQuota(3)
		look := func(tick bool) conn.Load {
			synctest.Wait()
			var load conn.Load
			s.locked(func() { load = s.look(tick, []*conn.Conn{l.conn})[0] })
			return load
		}
		check := func(what string, load conn.Load, peak int, starved bool) {
			t.Helper()
			want(t, what+": peak", load.Peak, peak)
			want(t, what+": starved", load.Starved, starved)
		}
		check("at first", look(true), 0, false)
		l.flood(1, 3)
		check("between ticks", look(false), 3, true)
		check("at the tick", look(true), 3, true)
		check("between ticks, of the last period", look(false), 3, true)
		check("between ticks, again", look(false), 3, true)
		l.flood(4, 1)
		check("between ticks, with less", look(false), 3, true)
		check("at the next tick", look(true), 1, false)
		check("between ticks, of that period", look(false), 1, false)
		l.flood(5, 2)
		check("between ticks, with more", look(false), 2, false)
		want(t, "received", look(true).Received, 6)
		want(t, "room for messages of that size", s.size.Fit(40, 1000), 40)
		look(true)
		want(t, "loads kept", len(s.loads), 1)
		s.locked(func() { s.look(true, nil) })
		want(t, "loads kept of ended connections", len(s.loads), 0)
	})
}

// TestQuotas: a connection can use twice its peak, and a starved one everything.
func TestQuotas(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 50}, takes(0))
		s.identify = map[string]any{"max_rdy_count": 20}
		conns := []*conn.Conn{s.dial(nsqd1).conn, s.dial(nsqd2).conn}
		s.locked(func() {
			got := s.quotas(conns, []conn.Load{{Quota: 4, Held: 6, Peak: 3}, {Quota: 5, Held: 5, Peak: 3, Starved: true}})
			want := []flow.Quota{{Set: 4, Held: 6, Max: 20, Demand: 6}, {Set: 5, Held: 5, Max: 20, Demand: 50}}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("quotas are made of %+v, want %+v", got, want)
			}
		})
	})
}
