package control

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// fixedGate is a gate that never changes.
type fixedGate struct {
	n     int
	holds time.Duration
}

func (g fixedGate) Room() (int, time.Duration) { return g.n, g.holds }

// noGate is behind a gate that is shut.
type noGate struct{ Gate }

// TestLeastRoom: the least room counts, and the first that changes by time alone. A gate behind one
// that is shut is not asked.
func TestLeastRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			gates []Gate
			want  fixedGate
		}{
			"none":           {nil, fixedGate{math.MaxInt, 0}},
			"one":            {[]Gate{fixedGate{3, time.Second}}, fixedGate{3, time.Second}},
			"the least":      {[]Gate{fixedGate{3, 0}, fixedGate{2, 0}, fixedGate{4, 0}}, fixedGate{2, 0}},
			"the first":      {[]Gate{fixedGate{3, 2}, fixedGate{2, 0}, fixedGate{4, 1}}, fixedGate{2, 1}},
			"shut":           {[]Gate{fixedGate{3, 1}, fixedGate{0, 0}, noGate{}}, fixedGate{0, 0}},
			"shut, but ends": {[]Gate{fixedGate{3, 1}, fixedGate{0, 2}, noGate{}}, fixedGate{0, 2}},
		} {
			s := newService(t, Config{Gates: tt.gates}, takes(0))
			n, holds := s.leastRoom()
			check.Want(t, name, fixedGate{n, holds}, tt.want)
		}
	})
}

// TestGateBounds: no more messages are in flight than a gate has room for.
func TestGateBounds(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10, FixedRDY: true, Gates: []Gate{fixedGate{4, 0}}}, takes(0))
		s.Start()
		lines := []*line{s.dial(nsqd1), s.dial(nsqd2)}
		s.adjust(true)
		wantQuotas(t, "quotas", lines, 2, 2)
		check.Want(t, "max in flight", s.State().MaxInFlight, 4)
	})
}

// TestShutGivesBack what waits, with quota 0 from the moment at which Changed has returned.
func TestShutGivesBack(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{Concurrency: 1, MaxInFlight: 10, FixedRDY: true}, handle)
		s.Start()
		l := s.dial(nsqd1)
		s.adjust(false)
		l.flood(1, 3)
		synctest.Wait()
		s.shutGate()
		check.Want(t, "quota", l.quota(), 0)
		check.Want(t, "waiting", s.pool.Snapshot().Waiting, 0)
		l.wantCommands("REQ", "REQ 3 0, REQ 2 0")
		s.shutGate()
		s.adjust(true)
		check.Want(t, "running", len(s.pool.Snapshot().Running), 1)
		release()
		l.flood(4, 1)
		l.wantCommands("REQ", "REQ 3 0, REQ 2 0, REQ 4 0")
		s.openGate()
		s.adjust(true)
		l.flood(5, 1)
		l.wantCommands("FIN", "FIN 1, FIN 5")
	})
}

// TestShutBeforeStart: no worker starts a handler, and Start gives back what waits.
func TestShutBeforeStart(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10, FixedRDY: true}, takes(0))
		s.shutGate()
		l := s.dial(nsqd1)
		l.flood(1, 2)
		l.wantCommands("FIN REQ", "")
		s.Start()
		l.wantCommands("FIN REQ", "REQ 2 0, REQ 1 0")
		check.Want(t, "quota", l.quota(), 0)
		l.flood(3, 1)
		l.wantCommands("FIN REQ", "REQ 2 0, REQ 1 0, REQ 3 0")
		s.openGate()
		s.adjust(true)
		l.flood(4, 1)
		l.wantCommands("FIN", "FIN 4")
	})
}

// TestShutAfterStop gives nothing back: the drain does.
func TestShutAfterStop(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{MaxInFlight: 10, FixedRDY: true}, handle)
		s.Start()
		l := s.dial(nsqd1)
		l.flood(1, 3)
		synctest.Wait()
		s.Stop()
		s.shutGate()
		l.wantCommands("REQ", "")
		check.Want(t, "waiting", s.pool.Snapshot().Waiting, 2)
		release()
	})
}

// TestShutSleeps: Run sleeps while a gate is shut, although fewer messages than connections may be in flight.
func TestShutSleeps(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10, FixedRDY: true}, takes(0))
		s.run()
		lines := []*line{s.dial(nsqd1), s.dial(nsqd2)}
		time.Sleep(time.Minute)
		began := time.Now()
		s.shutGate()
		time.Sleep(time.Minute)
		check.Want(t, "asleep", s.asleep.Load(), true)
		check.Want(t, "max in flight", s.State().MaxInFlight, 0)
		s.wantLooks("while it is shut", began, append([]time.Duration{0}, quick...)...)
		began = time.Now()
		s.openGate()
		time.Sleep(time.Minute)
		wantQuotas(t, "when it is open", lines, 5, 5)
		s.wantLooks("when it is open", began, append([]time.Duration{0}, quick...)...)
	})
}

// TestGateOpensInSleep: Run sleeps until a gate opens by time alone, and acts on that at once.
func TestGateOpensInSleep(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10, FixedRDY: true}, takes(0))
		s.run()
		l := s.dial(nsqd1)
		time.Sleep(time.Minute)
		began := time.Now()
		s.shutFor(30 * time.Second)
		time.Sleep(30*time.Second - 1)
		check.Want(t, "asleep", s.asleep.Load(), true)
		check.Want(t, "quota", l.quota(), 0)
		s.wantLooks("while it is shut", began, append([]time.Duration{0}, quick...)...)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		check.Want(t, "quota when it opens", l.quota(), 1)
		s.openGate()
		synctest.Wait()
		check.Want(t, "quota when it is open", l.quota(), 10)
	})
}

// TestOpenIsNoSilence: a connection that had no room, on purpose, is not silent since the last look.
func TestOpenIsNoSilence(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10, FixedRDY: true}, takes(0))
		s.Start()
		s.dial(nsqd1)
		time.Sleep(roomFirst)
		check.Want(t, "at first", s.mayProbe(), true)
		s.shutGate()
		time.Sleep(time.Hour)
		s.openGate()
		check.Want(t, "when it opens", s.mayProbe(), false)
		time.Sleep(roomFirst)
		check.Want(t, "later", s.mayProbe(), true)
	})
}

// TestRefuse: what arrives while a gate is shut goes back, for as long as it is known to be shut.
func TestRefuse(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{MaxInFlight: 50, FixedRDY: true}, handle)
		s.Start()
		l := s.dial(nsqd1)
		s.adjust(true)
		s.shutGate()
		l.flood(0x10, 1)
		l.wantCommands("REQ", "REQ 10 0") // it may open sooner
		s.shutFor(time.Second)
		l.flood(0x11, 1)
		time.Sleep(400 * ms)
		l.flood(0x12, 1)
		l.wantCommands("REQ", "REQ 10 0, REQ 11 1000, REQ 12 600")
		check.Want(t, "requeued", s.pool.Counts()[handler.Requeue], 3)
		release()
	})
}

// TestSuspendDelay: what waits goes back for as long as the gate is known to be shut.
func TestSuspendDelay(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, l, release := stalling(t, 2)
		s.shutFor(3 * time.Second)
		l.wantCommands("REQ", "REQ 4 3000, REQ 3 3000")
		release()
	})
}
