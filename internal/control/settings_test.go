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
		s.shutGate()
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
		s := newService(t, Config{Concurrency: 3, MaxInFlight: 10, FixedRDY: true}, takes(0))
		verify("fixed", s, State{Concurrency: 3, MaxInFlight: 10})
		s.shutGate()
		verify("a gate is shut", s, State{Concurrency: 3, MaxInFlight: 10})
		s.adjust(false)
		verify("after a look", s, State{Concurrency: 3})
		s.openGate()
		s.SetMaxInFlight(20)
		s.adjust(false)
		verify("open", s, State{Concurrency: 3, MaxInFlight: 20})
	})
}
