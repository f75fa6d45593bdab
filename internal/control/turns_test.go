package control

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/pool"
)

// Tests of adjust.go with more connections than messages may be in flight. What [flow.Turns] decides
// has tests there.

// dialAll returns n connections.
func (s *service) dialAll(n int) (lines []*line) {
	for i := range n {
		lines = append(lines, s.dial("nsqd-"+strconv.Itoa(i)+":4150"))
	}
	return lines
}

// quotaSum returns what lines may have in flight together.
func quotaSum(lines []*line) (sum int) {
	for _, l := range lines {
		sum += l.quota()
	}
	return sum
}

// openTurnsOf adjusts quotas as Run does until each connection has a turn.
func (s *service) openTurnsOf(lines []*line) {
	s.t.Helper()
	for range 20 * len(lines) {
		next := s.adjust(false)
		if s.Control.openTurns.Load() {
			check.Want(s.t, "next, open", next, 0)
			check.Want(s.t, "quotas, open", quotaSum(lines), len(lines))
			check.Want(s.t, "max in flight, open", s.State().MaxInFlight, len(lines))
			return
		}
		if sum := quotaSum(lines); sum > s.State().MaxInFlight {
			s.t.Fatalf("quotas are %d, more than %d", sum, s.State().MaxInFlight)
		}
		if next <= 0 || next > flow.Tick {
			s.t.Fatalf("adjust wants to be called after %v", next)
		}
		if synctest.Wait(); !s.awake() {
			time.Sleep(next)
		}
	}
	s.t.Fatal("turns never open")
}

// TestTurns: a turn moves on when its time is over and nsqd obeys, between ticks, too. After a round
// without a message all are open, and the first message closes the others.
func TestTurns(t *testing.T) {
	for _, tick := range []bool{false, true} {
		check.Bubble(t, strconv.FormatBool(tick), func(t *testing.T) {
			handle, release := hanging()
			s := newService(t, Config{Concurrency: 1}, handle)
			s.Start()
			lines := s.dialAll(5)
			check.Want(t, "next at first", s.adjust(tick), 3*ms)
			wantQuotas(t, "first turn", lines, 1, 0, 0, 0, 0)
			s.awake()
			time.Sleep(ms)
			check.Want(t, "next within a turn", s.adjust(tick), 2*ms)
			wantQuotas(t, "within a turn", lines, 1, 0, 0, 0, 0)
			check.Want(t, "max in flight", s.State().MaxInFlight, 1)
			check.Want(t, "yielding", s.Control.yielding, false)
			time.Sleep(2 * ms)
			check.Want(t, "next while nsqd may act on the last turn", s.adjust(tick), ms)
			wantQuotas(t, "while nsqd may act on the last turn", lines, 0, 0, 0, 0, 0)
			check.Want(t, "settled, since no tick is needed", s.settled(), true)
			synctest.Wait()
			check.Want(t, "woken when nsqd obeys", s.awake(), true)
			check.Want(t, "next in the next turn", s.adjust(tick), 3*ms)
			check.Want(t, "quotas in the next turn", quotaSum(lines), 1)

			s.openTurnsOf(lines)
			check.Want(t, "settled", s.settled(), true)
			s.awake()
			lines[3].flood(1, 1)
			synctest.Wait()
			check.Want(t, "woken by a message", s.awake(), true)
			check.Want(t, "next while others may send", s.adjust(tick), ms)
			wantQuotas(t, "after a message", lines, 0, 0, 0, 0, 0)
			check.Want(t, "max in flight after a message", s.State().MaxInFlight, 1)
			check.Want(t, "open after a message", s.Control.openTurns.Load(), false)
			synctest.Wait()
			check.Want(t, "next with a message in flight, which keeps the slot", s.adjust(tick), 0)
			s.awake()
			lines[3].flood(2, 1)
			synctest.Wait()
			check.Want(t, "woken by another message", s.awake(), false)
			time.Sleep(100 * ms)
			check.Want(t, "next with a handler that still runs", s.adjust(tick), 0)
			wantQuotas(t, "with a handler that still runs", lines, 0, 0, 0, 0, 0)
			release()
			synctest.Wait()
			check.Want(t, "woken by the answer", s.awake(), true)
			s.adjust(tick)
			check.Want(t, "quotas after the answer", quotaSum(lines), 1)
			check.Want(t, "quota of the last turn", lines[3].quota(), 0)
			l := lines[slices.IndexFunc(lines, func(l *line) bool { return l.quota() == 1 })]
			l.flood(3, 1)
			time.Sleep(ms)
			check.Want(t, "next in a turn with messages", s.adjust(tick), 99*ms)
			check.Want(t, "quota in a turn with messages", l.quota(), 1)
			time.Sleep(99*ms - 1)
			s.adjust(tick)
			check.Want(t, "quota just before its end", l.quota(), 1)
			time.Sleep(time.Nanosecond)
			s.adjust(tick)
			check.Want(t, "quota at its end", l.quota(), 0)
		})
	}
}

// TestTurnsReset: turns are forgotten while nothing may arrive, and when there is a slot for each
// connection.
func TestTurnsReset(t *testing.T) {
	none, all := []int{0, 0, 0, 0, 0}, []int{1, 1, 1, 1, 1}
	for name, tt := range map[string]struct {
		begin, end func(s *service)
		want       []int
	}{
		"a gate is shut": {func(s *service) { s.shutGate() }, func(s *service) { s.openGate() }, none},
		"stalled":        {func(s *service) { s.stalled = true }, func(s *service) { s.stalled = false }, none},
		"over capacity": {func(s *service) {
			s.pool.SetLimits(1, 1000, math.MaxInt)
			for n := range uint64(3) { // one is running, one waits
				s.lines[0].flood(1+n, 1)
				synctest.Wait()
			}
		}, func(*service) {}, none},
		"a slot for each": {func(s *service) { s.SetConcurrency(5) }, func(s *service) { s.SetConcurrency(1) }, all},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			handle, release := hanging()
			s := newService(t, Config{Concurrency: 1}, handle)
			s.Start()
			lines := s.dialAll(5)
			s.openTurnsOf(lines)
			tt.begin(s)
			check.Want(t, "next", s.adjust(false), 0)
			wantQuotas(t, "quotas", lines, tt.want...)
			check.Want(t, "open", s.turns.Open(), false)
			tt.end(s)
			release()
			for s.settleQuotas(); s.Control.yielding; s.settleQuotas() {
			}
			check.Want(t, "quotas afterwards", quotaSum(lines), 1) // from the start: not open
			check.Want(t, "max in flight afterwards", s.State().MaxInFlight, 1)
			s.openTurnsOf(lines)
		})
	}
}

// TestMayOpen: each connection may have a message in flight only if all else is idle.
func TestMayOpen(t *testing.T) {
	msgs := newMessages(1, 1, time.Minute)
	for name, tt := range map[string]struct {
		change   func(s *service)
		allowed  int
		snapshot pool.Snapshot
		want     bool
	}{
		"idle":                     {want: true},
		"fixed":                    {change: func(s *service) { s.fixed = 5 }},
		"a probe":                  {allowed: 1},
		"the breaker closes":       {allowed: 100},
		"stuck":                    {change: func(s *service) { s.stuck = 1 }},
		"nothing may be in flight": {change: func(s *service) { s.total = 0 }},
		"running":                  {snapshot: pool.Snapshot{Running: []*handler.Delivery{&msgs[0]}}},
		"waiting":                  {snapshot: pool.Snapshot{Waiting: 1}},
		"all fit":                  {change: func(s *service) { s.size.Add(10, 10*166) }, want: true}, // six of them
		"too large":                {change: func(s *service) { s.size.Add(10, 10*167) }},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, Config{MaxInFlightBytes: 1000}, takes(0))
			if tt.change != nil {
				tt.change(s)
			}
			if tt.allowed == 0 {
				tt.allowed = math.MaxInt
			}
			s.locked(func() { check.Want(t, name, s.mayOpen(6, tt.allowed, tt.snapshot), tt.want) })
		})
	}
}

// TestTurnConns: turns see connections as they are.
func TestTurnConns(t *testing.T) {
	a, b := new(conn.Conn), new(conn.Conn)
	got := turnConns([]*conn.Conn{a, b}, []conn.Load{
		{Quota: 1, Held: 2, InFlight: 3, Peak: 4, RTT: 5, Received: 6, Bytes: 7, ProbeIn: 1}, {Held: 8, InFlight: 9, RTT: 10, Received: 11},
	}, true)
	want := []flow.TurnConn[*conn.Conn]{
		{Key: a, Held: 2, InFlight: 3, RTT: 5, Received: 6}, {Key: b, Held: 8, InFlight: 9, RTT: 10, Received: 11, Probe: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("turns see %+v, want %+v", got, want)
	}
}

// TestRunTurns: Run acts at the end of a turn, not only at ticks, and sleeps while turns are open.
func TestRunTurns(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{Concurrency: 1}, handle)
		s.Control.service.Add(10*2*time.Second, 10) // known: ticks are 100 ms; slow: nothing is asked for ahead
		s.run()
		lines := s.dialAll(5)
		time.Sleep(50 * ms)
		wantQuotas(t, "after a round", lines, 1, 1, 1, 1, 1)
		time.Sleep(time.Minute)
		check.Want(t, "asleep", s.asleep.Load(), true)
		began := time.Now()
		time.Sleep(time.Minute)
		s.wantLooks("while asleep", began)
		wantQuotas(t, "while asleep", lines, 1, 1, 1, 1, 1)

		lines[1].flood(1, 1)
		lines[4].flood(2, 1) // at the same time
		synctest.Wait()
		check.Want(t, "quotas of the others", quotaSum([]*line{lines[0], lines[2], lines[3]}), 0)
		check.Want(t, "max in flight", s.State().MaxInFlight, 1)
		for i, l := range lines {
			rdys := l.commands("RDY")
			if last := rdys[len(rdys)-1]; i != 1 && i != 4 && last != "RDY 0" {
				t.Errorf("%s reads %q last", l.conn.Addr(), last)
			}
		}
		release()
		lines[1].wantCommands("FIN REQ", "FIN 1")
		lines[4].wantCommands("FIN REQ", "FIN 2")
		time.Sleep(10 * time.Second)
		wantQuotas(t, "open again", lines, 1, 1, 1, 1, 1)
		check.Want(t, "asleep again", s.asleep.Load(), true)
	})
}

// TestTurnsOfBacklog: connections that all have a backlog are served alike, workers are busy, and no
// message waits for a worker.
func TestTurnsOfBacklog(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		const conns, workers, service, lasts = 5, 2, 60 * ms, 6 * time.Second
		s := newService(t, Config{Concurrency: workers}, takes(service))
		s.identify = map[string]any{"msg_timeout": 400} // a second message might wait for too long
		s.run()
		lines := s.dialAll(conns)
		sent := make([]int, conns)
		total := 0
		for began := time.Now(); time.Since(began) < lasts; time.Sleep(ms) {
			for i, l := range lines { // as nsqd does with an RDY of 0 or 1
				rdys := l.commands("RDY")
				if len(rdys) > 0 && rdys[len(rdys)-1] != "RDY 0" && sent[i] == len(l.commands("FIN")) {
					sent[i]++
					total++
					l.flood(uint64(1000*(i+1)+sent[i]), 1)
				}
			}
			synctest.Wait()
			if snapshot := s.pool.Snapshot(); snapshot.Waiting > 0 || total > 1 && s.State().MaxInFlight != workers {
				t.Fatalf("%d messages wait, %d may be in flight", snapshot.Waiting, s.State().MaxInFlight)
			}
		}
		if most := int(workers * lasts / service); total < most*9/10 {
			t.Errorf("connections have sent %d in all, want about %d", total, most)
		}
		if least, most := slices.Min(sent), slices.Max(sent); least < most*8/10 {
			t.Errorf("connections have sent %d", sent)
		}
		for _, l := range lines {
			l.wantCommands("REQ", "")
		}
	})
}

// TestRunIdleTurns: turns that go on although nothing happens, since MaxInFlight is fixed, need no
// ticks: Run acts when a turn ends, and when nsqd obeys.
func TestRunIdleTurns(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{Concurrency: 4, MaxInFlight: 2}, takes(0))
		s.run()
		lines := s.dialAll(5)
		time.Sleep(time.Minute)
		check.Want(t, "asleep", s.asleep.Load(), true)
		began := time.Now()
		time.Sleep(time.Minute)
		check.Want(t, "still asleep", s.asleep.Load(), true)
		if n := len(s.looksSince(began)); n > 60*11 {
			t.Errorf("%d instants at which Run acts in a minute, want 10 a second", n)
		}
		check.Want(t, "quotas", quotaSum(lines) <= 2, true)
	})
}
