package control

import (
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/internal/check"
)

// TestWorkers: there are as many as SetConcurrency says, from Start to Stop.
func TestWorkers(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{Concurrency: 2}, takes(0))
		verify := func(what string, workers, concurrency int) {
			t.Helper()
			synctest.Wait()
			check.Want(t, what+": workers", s.pool.Snapshot().Workers, workers)
			check.Want(t, what+": concurrency", s.State().Concurrency, concurrency)
		}
		verify("at first", 0, 2)
		s.SetConcurrency(7)
		verify("before Start", 0, 7)
		s.Start()
		verify("started", 7, 7)
		s.SetConcurrency(3)
		verify("fewer", 3, 3)
		s.Pause()
		s.SetConcurrency(4)
		verify("paused", 4, 4)
		s.Stop()
		s.SetConcurrency(9)
		verify("stopped", 4, 9)
		s.pool.Close()
		s.SetConcurrency(5)
		verify("closed", 0, 5)
	})
}

// TestState shows the settings, of which MaxInFlight takes effect at the next look.
func TestState(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		verify := func(what string, s *service, want State) {
			t.Helper()
			if got := s.State(); got != want {
				t.Errorf("%s: %+v, want %+v", what, got, want)
			}
		}
		verify("automatic", newService(t, Config{Concurrency: 3}, takes(0)), State{Concurrency: 3, MaxInFlight: 3})
		s := newService(t, Config{Concurrency: 3, MaxInFlight: 10, FixedRDY: true, Backoff: backoff()}, takes(0))
		verify("fixed", s, State{Concurrency: 3, MaxInFlight: 10})
		s.Pause()
		verify("paused", s, State{Concurrency: 3, MaxInFlight: 10, Paused: true})
		s.adjust(false)
		verify("paused, after a look", s, State{Concurrency: 3, Paused: true})
		s.Resume()
		s.SetMaxInFlight(20)
		s.adjust(false)
		verify("resumed", s, State{Concurrency: 3, MaxInFlight: 20})
		s.locked(func() { s.openBreaker() })
		s.adjust(false)
		verify("breaker open", s, State{Concurrency: 3, BackoffLevel: 1})
	})
}

// TestPauseGivesBack what waits, with quota 0 from the moment at which Pause has returned.
func TestPauseGivesBack(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{Concurrency: 1, MaxInFlight: 10, FixedRDY: true}, handle)
		s.Start()
		l := s.dial(nsqd1)
		s.adjust(false)
		l.flood(1, 3)
		synctest.Wait()
		s.Pause()
		check.Want(t, "quota", l.quota(), 0)
		check.Want(t, "waiting", s.pool.Snapshot().Waiting, 0)
		l.wantCommands("REQ", "REQ 3 0, REQ 2 0")
		s.Pause()
		s.adjust(true)
		check.Want(t, "running", len(s.pool.Snapshot().Running), 1)
		release()
		l.flood(4, 1)
		l.wantCommands("REQ", "REQ 3 0, REQ 2 0, REQ 4 0")
		s.Resume()
		s.adjust(true)
		l.flood(5, 1)
		l.wantCommands("FIN", "FIN 1, FIN 5")
	})
}

// TestPauseBeforeStart: no worker starts a handler, and Start gives back what waits.
func TestPauseBeforeStart(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10, FixedRDY: true}, takes(0))
		s.Pause()
		l := s.dial(nsqd1)
		l.flood(1, 2)
		l.wantCommands("FIN REQ", "")
		s.Start()
		l.wantCommands("FIN REQ", "REQ 2 0, REQ 1 0")
		check.Want(t, "quota", l.quota(), 0)
		l.flood(3, 1)
		l.wantCommands("FIN REQ", "REQ 2 0, REQ 1 0, REQ 3 0")
		s.Resume()
		s.adjust(true)
		l.flood(4, 1)
		l.wantCommands("FIN", "FIN 4")
	})
}

// TestPauseAfterStop gives nothing back: the drain does.
func TestPauseAfterStop(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{MaxInFlight: 10, FixedRDY: true}, handle)
		s.Start()
		l := s.dial(nsqd1)
		l.flood(1, 3)
		synctest.Wait()
		s.Stop()
		s.Pause()
		l.wantCommands("REQ", "")
		check.Want(t, "waiting", s.pool.Snapshot().Waiting, 2)
		check.Want(t, "paused", s.State().Paused, true)
		release()
	})
}
