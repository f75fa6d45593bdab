package control

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

// backoffStates are the states of the breaker's events, in order.
func (s *service) backoffStates() (states []observe.BackoffState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range s.events {
		if ev.Kind == notify.Backoff {
			states = append(states, ev.State)
		}
	}
	return states
}

// TestBreaker: failures in a row close RDY; later one message tries, and its success opens RDY again.
func TestBreaker(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		s := newService(t, Config{
			MaxInFlight: 10, Concurrency: 2,
			Backoff: &flow.Backoff{Failures: 0.9, MinResults: 10, Period: 10 * time.Second, First: time.Minute, Max: time.Hour},
		}, func(*handler.Delivery) error {
			if down.Load() {
				return errBill
			}
			return nil
		})
		s.run()
		l := s.dial(nsqd1)
		time.Sleep(time.Second)
		for i := range uint64(10) {
			check.Want(t, "events before the last failure", len(s.backoffStates()), 0)
			l.flood(1+i, 1)
			time.Sleep(10 * ms)
		}
		check.Want(t, "events", len(s.backoffStates()), 1)
		check.Want(t, "event", s.backoffStates()[0], observe.BackoffOpen)
		check.Want(t, "quota while it is open", l.quota(), 0)
		check.Want(t, "watching", s.watching.Load(), true)

		down.Store(false)
		time.Sleep(70 * time.Second)
		check.Want(t, "quota of the probe", l.quota(), 1)
		check.Want(t, "events", len(s.backoffStates()), 2)
		check.Want(t, "event", s.backoffStates()[1], observe.BackoffProbe)
		for i := range uint64(10) {
			l.flood(100+i, 1)
			time.Sleep(time.Second)
		}
		states := s.backoffStates()
		check.Want(t, "events", len(states), 3)
		check.Want(t, "last event", states[len(states)-1], observe.BackoffClosed)
		check.Want(t, "watching afterwards", s.watching.Load(), false)
		check.Want(t, "RDY afterwards is open", l.quota() > 1, true)
	})
}
