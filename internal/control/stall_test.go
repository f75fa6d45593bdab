package control

import (
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/notify"
)

// stalling returns a service with two workers that hang, and n messages that wait.
func stalling(t *testing.T, n int) (s *service, l *line, release func()) {
	t.Helper()
	handle, release := hanging()
	s = newService(t, Config{Concurrency: 2, MaxInFlight: 50, FixedRDY: true}, handle)
	s.identify = map[string]any{"msg_timeout": 4000}
	s.Start()
	l = s.dial(nsqd1)
	s.adjust(true)
	l.flood(1, 2+n)
	synctest.Wait()
	return s, l, release
}

// tick calls unstall as a tick does.
func (s *service) tick(moved bool) { s.unstall(s.pool.Snapshot(), moved) }

func (s *service) wantStall(what string, stalled, restrained bool, waiting, quota int) {
	s.t.Helper()
	check.Want(s.t, what+": stalled", s.stalled, stalled)
	check.Want(s.t, what+": restrained", s.restraint.holds(time.Now()), restrained)
	check.Want(s.t, what+": waiting", s.pool.Snapshot().Waiting, waiting)
	check.Want(s.t, what+": quota", s.lines[0].quota(), quota)
}

// TestUnstall: after a second all but one message a worker are given back, RDY first, and half a
// second later those, too.
func TestUnstall(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, l, release := stalling(t, 10)
		s.tick(false)
		s.wantStall("at once", false, false, 10, 50)
		time.Sleep(time.Second - 1)
		s.tick(false)
		s.wantStall("just before", false, false, 10, 50)
		time.Sleep(time.Nanosecond)
		s.tick(false)
		s.wantStall("after a second", true, true, 2, 0)
		check.Want(t, "given back", len(l.commands("REQ")), 8)
		s.tick(false)
		s.wantStall("again", true, true, 2, 0)
		time.Sleep(500*ms - 1)
		s.tick(false)
		s.wantStall("before 1.5 s", true, true, 2, 0)
		time.Sleep(time.Nanosecond)
		s.tick(false)
		s.wantStall("after 1.5 s", true, true, 0, 0)
		check.Want(t, "given back in all", len(l.commands("REQ")), 10)
		time.Sleep(time.Second)
		s.tick(false)
		s.wantStall("later", true, true, 0, 0)
		s.tick(true)
		check.Want(t, "stalled when a worker has come", s.stalled, false)
		check.Want(t, "restrained when a worker has come", s.restraint.holds(time.Now()), true)
		s.SetMaxInFlight(50)
		check.Want(t, "restrained after SetMaxInFlight", s.restraint.holds(time.Now()), false)
		release()
	})
}

// TestUnstallKeeps what workers do until RDY is open again, as far as the service time is known.
func TestUnstallKeeps(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, _, release := stalling(t, 20)
		s.Control.service.Add(10*50*ms, 10)
		time.Sleep(time.Second)
		s.tick(false)
		s.wantStall("with 50 ms a message", true, true, 2+4, 0)
		time.Sleep(500 * ms)
		s.tick(false)
		s.wantStall("half a second later", true, true, 0, 0)
		release()
	})
}

// TestUnstallFew: as many messages as workers stay at first.
func TestUnstallFew(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, _, release := stalling(t, 2)
		time.Sleep(time.Second)
		s.tick(false)
		s.wantStall("after a second", false, false, 2, 50)
		time.Sleep(500 * ms)
		s.tick(false)
		s.wantStall("after 1.5 s", true, true, 0, 0)
		release()
	})
}

// TestUnstallEnds: an idle worker ends a stall, and prevents one.
func TestUnstallEnds(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, _, release := stalling(t, 10)
		time.Sleep(time.Second)
		s.tick(false)
		check.Want(t, "stalled", s.stalled, true)
		release()
		synctest.Wait()
		s.tick(false)
		check.Want(t, "stalled with idle workers", s.stalled, false)
		snapshot := s.pool.Snapshot()
		snapshot.Oldest, snapshot.Waiting = &newMessages(1, 1, 4*time.Second)[0], 1
		time.Sleep(3 * time.Second)
		s.unstall(snapshot, false)
		check.Want(t, "stalled although a worker is idle", s.stalled, false)
		snapshot.Idle = 0
		s.unstall(snapshot, false)
		check.Want(t, "stalled without an idle worker", s.stalled, true)
		s.unstall(snapshot, true)
		check.Want(t, "stalled although one has come", s.stalled, true) // the oldest still waits
	})
}

func TestStallTime(t *testing.T) {
	for timeout, wanted := range map[time.Duration]time.Duration{
		0: 0, 2 * time.Second: 500 * ms, 4 * time.Second: time.Second, time.Minute: time.Second, 15 * time.Minute: time.Second,
	} {
		check.Want(t, "for a message timeout of "+timeout.String(), stallTime(&newMessages(1, 1, timeout)[0]), wanted)
	}
}

// TestUnstallWithoutTimeout: messages that never time out are never given back.
func TestUnstallWithoutTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Config{}, takes(0))
		snapshot := s.pool.Snapshot()
		snapshot.Oldest, snapshot.Waiting = &newMessages(1, 1, 0)[0], 100
		time.Sleep(time.Hour)
		s.unstall(snapshot, false)
		check.Want(t, "stalled", s.stalled, false)
	})
}

// TestGivenBack: one event says how many messages were given back together, and why.
func TestGivenBack(t *testing.T) {
	for name, tt := range map[string]struct {
		then func(s *service, l *line)
		want []string
	}{
		"stall": {func(s *service, _ *line) {
			for range 4 {
				time.Sleep(500 * ms)
				s.tick(false)
			}
		}, []string{"stall 1", "stall 2"}},
		"shut gate": {func(s *service, _ *line) {
			s.shutGate()
			s.adjust(true)
			s.shutGate()
		}, []string{"suspended 3"}},
		"shut gate, nothing waits": {func(s *service, _ *line) {
			s.pool.Shed(0)
			s.shutGate()
			s.adjust(true)
		}, nil},
		"while a gate is shut": {func(s *service, l *line) {
			s.shutGate()
			l.flood(0x10, 4)
			synctest.Wait()
			l.flood(0x20, 1)
		}, []string{"suspended 3", "suspended 4", "suspended 1"}},
		"shut for a second": {func(s *service, l *line) {
			s.shutFor(time.Second)
			l.flood(0x10, 2)
		}, []string{"suspended 3", "suspended 2"}},
		"overflow": {func(_ *service, l *line) { l.flood(0x10, 2*50+1+2) }, []string{"overflow 5"}},
		"timed out": {func(s *service, _ *line) {
			time.Sleep(4 * time.Second)
			s.pool.Tick(false)
			s.adjust(true)
		}, nil},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s, l, release := stalling(t, 3)
			tt.then(s, l)
			var got []string
			given := uint64(0)
			for _, ev := range s.posted(notify.GivenBack) {
				got = append(got, ev.Reason+" "+strconv.Itoa(ev.Found))
				given += uint64(ev.Found)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("events %q, want %q", got, tt.want)
			}
			if name != "shut gate, nothing waits" {
				check.Want(t, "given back", s.pool.Snapshot().GivenBack, given)
			}
			release()
		})
	}
}
