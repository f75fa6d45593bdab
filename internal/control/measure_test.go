package control

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/notify"
)

// TestCountStuck: workers are stuck with a message that nsqd has given to others, and with one of a
// lost connection. Those given to others are counted by connection, and warned of once a message.
func TestCountStuck(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		returns := map[string]chan struct{}{}
		for n := range 6 {
			returns[idOf(n)] = make(chan struct{})
		}
		s := newService(t, Config{Concurrency: 5, MaxInFlight: 10}, func(d *handler.Delivery) error {
			<-returns[d.ID.String()]
			return nil
		})
		s.identify = map[string]any{"msg_timeout": 4000}
		s.Start()
		first, second := s.dial(nsqd1), s.dial(nsqd2)
		first.flood(1, 2)
		second.flood(3, 1)
		verify := func(what string, stuck, overdue, warnings, kept int) {
			t.Helper()
			synctest.Wait()
			gotStuck, _, gotOverdue := s.countStuck(s.pool.Snapshot())
			check.Want(t, what+": stuck", gotStuck, stuck)
			check.Want(t, what+": overdue", gotOverdue, overdue)
			check.Want(t, what+": warnings", len(s.posted(notify.Overdue)), warnings)
			check.Want(t, what+": warned messages kept", len(s.outliving.known), kept)
		}
		time.Sleep(3 * time.Second)
		verify("too early", 0, 0, 0, 0)
		check.Want(t, "held, too early", first.conn.Load(false).Held, 2)
		time.Sleep(2 * time.Second)
		for range 3 {
			verify("beyond their time", 3, 3, 3, 3)
		}
		check.Want(t, "held", first.conn.Load(false).Held, 0) // nsqd counts them no more
		check.Want(t, "held, of the second", second.conn.Load(false).Held, 0)
		ages := map[string]string{}
		for _, ev := range s.posted(notify.Overdue) {
			ages[ev.Message.String()] = ev.NSQD + " " + ev.Age.String()
		}
		if !reflect.DeepEqual(ages, map[string]string{idOf(1): nsqd1 + " 5s", idOf(2): nsqd1 + " 5s", idOf(3): nsqd2 + " 5s"}) {
			t.Errorf("warnings of %v", ages)
		}

		second.flood(4, 1)
		time.Sleep(5 * time.Second)
		verify("with another", 4, 4, 4, 4)
		second.flood(5, 1)
		verify("with one in time", 4, 4, 4, 4)
		check.Want(t, "held, with one in time", second.conn.Load(false).Held, 1)
		close(returns[idOf(1)])
		verify("when one has returned", 3, 3, 4, 3)
		second.end()
		verify("when a connection has ended", 4, 3, 4, 3) // one is lost in time
		time.Sleep(5 * time.Second)
		verify("when that one is beyond its time, too", 4, 4, 5, 4)
		close(returns[idOf(5)])
		verify("when the lost one has returned", 3, 3, 5, 3)
		close(returns[idOf(2)])
		verify("lost and beyond their time", 2, 2, 5, 2)
		close(returns[idOf(3)])
		close(returns[idOf(4)])
		verify("at last", 0, 0, 5, 0)
		check.Want(t, "returned", len(s.posted(notify.Returned)), 5)
		check.Want(t, "held at last", first.conn.Load(false).Held, 0)
	})
}

// TestMeasureStuck: a tick counts stuck workers for what may be in flight, and overdue ones for Stuck.
func TestMeasureStuck(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg              Config
		most, one, third int // in flight: at first, with one of two workers stuck, with two of three
	}{
		"fixed RDY": {Config{Concurrency: 2, MaxInFlight: 10, FixedRDY: true}, 10, 9, 8},
		"automatic": {Config{Concurrency: 2}, 2, 1, 1},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			handle, release := hanging()
			s := newService(t, tt.cfg, handle)
			s.identify = map[string]any{"msg_timeout": 4000}
			s.Start()
			l := s.dial(nsqd1)
			verify := func(what string, most int, stuck bool) {
				t.Helper()
				synctest.Wait()
				s.measure()
				s.adjust(true)
				check.Want(t, what+": max in flight", s.State().MaxInFlight, most)
				check.Want(t, what+": stuck", s.Stuck(), stuck)
			}
			l.flood(1, 1)
			verify("before its time", tt.most, false)
			time.Sleep(5 * time.Second)
			verify("one of two", tt.one, false)
			l.flood(2, 1)
			time.Sleep(5 * time.Second)
			verify("all", 0, true)
			check.Want(t, "quota", l.quota(), 0)
			s.SetConcurrency(3)
			check.Want(t, "stuck with a third worker", s.Stuck(), false)
			verify("a third worker", tt.third, false)
			s.SetConcurrency(2)
			release()
			synctest.Wait()
			verify("at last", tt.most, false)
		})
	}
	check.Bubble(t, "lost", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{Concurrency: 2}, handle)
		s.Start()
		gone := s.dial(nsqd1)
		gone.flood(1, 2)
		synctest.Wait()
		gone.end()
		l := s.dial(nsqd2)
		s.measure()
		s.adjust(true)
		check.Want(t, "max in flight", s.State().MaxInFlight, 0)
		check.Want(t, "quota", l.quota(), 0)
		check.Want(t, "stuck in time", s.Stuck(), false) // overdue ones alone count
		check.Want(t, "warnings", len(s.posted(notify.Overdue)), 0)
		release()
	})
}

// TestMeasureService: the service time comes from busy workers, running handlers included.
func TestMeasureService(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{Concurrency: 2, MaxInFlight: 50}, takes(300*ms))
		s.Start()
		l := s.dial(nsqd1)
		l.flood(1, 2)
		time.Sleep(200 * ms)
		s.measure()
		_, known := s.Control.service.Time()
		check.Want(t, "known before the first result", known, false)
		time.Sleep(200 * ms)
		s.measure()
		mean, known := s.Control.service.Time()
		check.Want(t, "known", known, true)
		if mean < 270*ms || mean > 300*ms { // the first tick has faded a little
			t.Errorf("the service time is %v, want about 300ms", mean)
		}
		check.Want(t, "results", s.results, 2)
		check.Want(t, "busy time", s.busyTime, 600*ms)
	})
}

// TestLook: between ticks the loads of the last period count, too.
func TestLook(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
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
		verify := func(what string, load conn.Load, peak int, starved bool) {
			t.Helper()
			check.Want(t, what+": peak", load.Peak, peak)
			check.Want(t, what+": starved", load.Starved, starved)
		}
		verify("at first", look(true), 0, false)
		l.flood(1, 3)
		verify("between ticks", look(false), 3, true)
		verify("at the tick", look(true), 3, true)
		verify("between ticks, of the last period", look(false), 3, true)
		verify("between ticks, again", look(false), 3, true)
		l.flood(4, 1)
		verify("between ticks, with less", look(false), 3, true)
		verify("at the next tick", look(true), 1, false)
		verify("between ticks, of that period", look(false), 1, false)
		l.flood(5, 2)
		verify("between ticks, with more", look(false), 2, false)
		check.Want(t, "received", look(true).Received, 6)
		check.Want(t, "room for messages of that size", s.size.Fit(40, 1000), 40)
		look(true)
		check.Want(t, "loads kept", len(s.loads), 1)
		s.locked(func() { s.look(true, nil) })
		check.Want(t, "loads kept of ended connections", len(s.loads), 0)
	})
}

// TestQuotas: a connection can use twice its peak, and a starved one everything; one whose probe is due is favoured.
func TestQuotas(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 50}, takes(0))
		s.identify = map[string]any{"max_rdy_count": 20}
		conns := []*conn.Conn{s.dial(nsqd1).conn, s.dial(nsqd2).conn}
		s.locked(func() {
			got := s.quotas(conns, []conn.Load{{Quota: 4, Held: 6, Peak: 3, ProbeIn: time.Hour}, {Quota: 5, Held: 5, Peak: 3, Starved: true}}, nil)
			want := []flow.Quota{{Set: 4, Held: 6, Max: 20, Demand: 6}, {Set: 5, Held: 5, Max: 20, Demand: 50, Probe: true}}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("quotas are made of %+v, want %+v", got, want)
			}
		})
	})
}

// TestFade: after a lull the service time has faded as often as with a look at each tick, or after each
// run if those are fewer.
func TestFade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			after time.Duration
			runs  uint64
			fades int
		}{
			{flow.Tick, 0, 0}, {flow.Tick, 50, 0}, {flow.Tick / 32, 5, 0},
			{lull, 0, 9}, {lull, 1, 0}, {lull, 4, 3}, {lull, 10, 9}, {lull, 1000, 9}, {lull / 2, 1000, 4},
			{time.Hour, 0, 9}, {time.Hour, 1, 0}, {time.Hour, 1000, 9},
		} {
			s := newService(t, Config{}, takes(0))
			var want flow.Service
			want.Add(time.Second, 100)
			s.Control.service, s.measured = want, time.Now()
			for range tt.fades {
				want.Fade()
			}
			time.Sleep(tt.after)
			s.fade(tt.runs)
			if s.Control.service != want {
				t.Errorf("%v and %d runs later: %+v, want %+v", tt.after, tt.runs, s.Control.service, want)
			}
			check.Want(t, "measured", s.measured, time.Now())
		}
	})
}
