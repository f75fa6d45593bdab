package control

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/flow"
)

const ms = time.Millisecond

// quick are the ticks of a Control that knows no service time, since the first look.
var quick = []time.Duration{3125 * time.Microsecond, 9375 * time.Microsecond, 21875 * time.Microsecond, 46875 * time.Microsecond,
	96875 * time.Microsecond, 196875 * time.Microsecond}

// TestFirstTick is short until the service time is known.
func TestFirstTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Config{}, takes(0))
		check.Want(t, "first tick, service time unknown", s.firstTick(), flow.Tick/32)
		s.service.Add(time.Second, 0)
		check.Want(t, "first tick, nothing has ended yet", s.firstTick(), flow.Tick/32)
		s.service.Add(time.Second, 10)
		check.Want(t, "first tick, service time known", s.firstTick(), flow.Tick)
	})
}

// TestSleep: ticks double up to [flow.Tick]; then Run sleeps until something happens.
func TestSleep(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10, FixedRDY: true}, takes(0))
		began := time.Now()
		s.run()
		time.Sleep(time.Minute)
		s.wantLooks("at the start", began, quick...)
		check.Want(t, "asleep", s.asleep.Load(), true)

		began = time.Now()
		l := s.dial(nsqd1) // wakes
		time.Sleep(time.Minute)
		s.wantLooks("after a connection", began, append([]time.Duration{0}, quick...)...)
		check.Want(t, "quota", l.quota(), 10)

		began = time.Now()
		l.flood(1, 3)
		time.Sleep(time.Minute)
		s.wantLooks("after the first messages", began, quick...)

		began = time.Now()
		l.flood(4, 3)
		time.Sleep(time.Minute)
		s.wantLooks("after more messages", began, 100*ms)
		check.Want(t, "asleep at last", s.asleep.Load(), true)
	})
}

// TestWakeBy lists what wakes Run.
func TestWakeBy(t *testing.T) {
	for name, then := range map[string]func(s *service, l *line){
		"Wake":           func(s *service, _ *line) { s.Wake() },
		"Changed, shut":  func(s *service, _ *line) { s.shutGate(); s.openGate() },
		"Changed":        func(s *service, _ *line) { s.openGate() },
		"SetConcurrency": func(s *service, _ *line) { s.SetConcurrency(3) },
		"SetMaxInFlight": func(s *service, _ *line) { s.SetMaxInFlight(11) },
		"Detached":       func(s *service, l *line) { s.Detached(l.conn) },
		"Overflow":       func(s *service, l *line) { s.Overflow(l.conn, nil, errBill) },
		"twice":          func(s *service, _ *line) { s.Wake(); s.Wake() },
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s := newService(t, Config{MaxInFlight: 10}, takes(0))
			s.run()
			l := s.dial(nsqd1)
			time.Sleep(time.Minute)
			began := time.Now()
			then(s, l)
			time.Sleep(time.Minute)
			s.wantLooks(name, began, append([]time.Duration{0}, quick...)...)
			check.Want(t, "asleep again", s.asleep.Load(), true)

			then(s, l)
			time.Sleep(10 * ms)
			l.flood(1, 1) // while Run ticks and asleep may still be set
			time.Sleep(flow.Tick)
			check.Want(t, "messages counted", s.counted(), 1)
			time.Sleep(time.Minute)
			check.Want(t, "asleep after a message", s.asleep.Load(), true)
		})
	}
}

// TestArrived: a message sets the alarm once, and only if Run sleeps.
func TestArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Config{}, takes(0))
		s.alarm.Stop()
		s.Arrived()
		check.Want(t, "set while awake", s.alarm.Stop(), false)
		s.asleep.Store(true)
		s.pace.Store(int64(flow.Tick))
		var all sync.WaitGroup
		for range 100 {
			all.Go(s.Arrived)
		}
		all.Wait()
		check.Want(t, "set while asleep", s.alarm.Stop(), true)
		check.Want(t, "asleep", s.asleep.Load(), false)
		s.Arrived()
		check.Want(t, "set again", s.alarm.Stop(), false)
		check.Want(t, "woken", s.awake(), false)
	})
}

// TestArrivedWithOpenTurns wakes Run at each message until the other connections are closed.
func TestArrivedWithOpenTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Config{}, takes(0))
		for _, asleep := range []bool{false, true} {
			s.asleep.Store(asleep)
			s.openTurns.Store(true)
			for range 3 {
				s.Arrived()
				check.Want(t, "woken while turns are open", s.awake(), true)
			}
			s.openTurns.Store(false)
			s.Arrived()
			check.Want(t, "woken afterwards", s.awake(), false)
		}
	})
}

// TestIdle: Run may sleep after a tick without a message in hand; a message that arrives between the
// last count and the decision to sleep keeps Run awake, since Arrived found it awake.
func TestIdle(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10}, takes(0))
		s.Start()
		l := s.dial(nsqd1)
		s.adjust(true)
		check.Want(t, "woken by the connection", s.awake(), true)
		s.measure()
		check.Want(t, "idle after a tick", s.idle(), true)
		check.Want(t, "asleep", s.asleep.Load(), true)
		l.flood(1, 1)
		synctest.Wait()
		check.Want(t, "asleep", s.asleep.Load(), false)

		s.measure()
		l.flood(2, 1) // after the count
		synctest.Wait()
		check.Want(t, "idle with a message", s.idle(), false)
		check.Want(t, "asleep with a message", s.asleep.Load(), false)

		s.measure()
		s.SetMaxInFlight(0) // quotas were lowered after the count
		s.locked(func() { s.yielding = true })
		check.Want(t, "idle while a connection yields", s.idle(), false)
		check.Want(t, "asleep while a connection yields", s.asleep.Load(), false)
	})
}

// TestIdleNot: Run does not sleep with a running or waiting message.
func TestIdleNot(t *testing.T) {
	check.Bubble(t, "running", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{MaxInFlight: 10}, handle)
		s.Start()
		l := s.dial(nsqd1)
		s.adjust(true)
		l.flood(1, 1)
		synctest.Wait()
		for range 10 {
			s.measure()
			check.Want(t, "idle with a handler that runs", s.idle(), false)
		}
		release()
		synctest.Wait()
		s.measure()
		check.Want(t, "idle after it", s.idle(), true)
	})
	check.Bubble(t, "waiting", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10}, takes(0))
		s.dial(nsqd1).flood(1, 1) // there is no worker before Start
		synctest.Wait()
		for range 10 {
			s.measure()
			check.Want(t, "idle with a message that waits", s.idle(), false)
		}
	})
}

// TestTicksAtOrdinaryRates: Run looks once for each message, not more, and at most ten times a
// second.
func TestTicksAtOrdinaryRates(t *testing.T) {
	for rate, most := range map[int]int{1: 60, 3: 180, 10: 600, 100: 600} {
		check.Bubble(t, fmt.Sprint(rate, " a second"), func(t *testing.T) {
			s := newService(t, Config{Concurrency: 16}, takes(ms))
			s.run()
			l := s.dial(nsqd1)
			l.flood(1, 10)
			time.Sleep(time.Minute)
			began := time.Now()
			for i := range 60 * rate {
				l.flood(uint64(100+i), 1)
				time.Sleep(time.Second / time.Duration(rate))
			}
			if n := len(s.looksSince(began)); n > most {
				t.Errorf("%d looks in a minute, want at most %d", n, most)
			}
			time.Sleep(time.Second)
			check.Want(t, "asleep", s.asleep.Load(), true)
		})
	}
}

// TestSettled: each of these may change with time alone, so Run stays awake.
func TestSettled(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 2}, takes(0))
		l := s.dial(nsqd1)
		s.dial(nsqd2)
		check.Want(t, "settled", s.settled(), true)
		for name, change := range map[string]func(on bool){
			"flood": func(on bool) {
				if on {
					s.flood[l.conn] = 1
				} else {
					delete(s.flood, l.conn)
				}
			},
			"yielding": func(on bool) { s.yielding = on },
			"stalled":  func(on bool) { s.stalled = on },
		} {
			s.locked(func() { change(true) })
			check.Want(t, name, s.settled(), false)
			s.locked(func() { change(false) })
			check.Want(t, "without "+name, s.settled(), true)
		}
	})
}

// TestSleepMissesNothing: whenever a message arrives, also at the instant at which Run decides to
// sleep, Run has counted it a tick later.
func TestSleepMissesNothing(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10, Concurrency: 2}, takes(0))
		s.run()
		l := s.dial(nsqd1)
		l.flood(1, 1)
		time.Sleep(time.Minute)
		r := rand.New(rand.NewPCG(1, 2))
		sent := uint64(1)
		slept := 0
		for range 2000 {
			// Run was asleep: it ticks 100 ms after a message, and then sleeps.
			sent++
			l.flood(sent, 1)
			synctest.Wait()
			time.Sleep(100 * ms)
			for range r.IntN(3) {
				sent++
				l.flood(sent, 1)
			}
			if r.IntN(3) == 0 {
				s.Wake()
			}
			time.Sleep(flow.Tick + ms)
			if n := s.counted(); n != sent {
				t.Fatalf("Run has counted %d messages of %d", n, sent)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if s.asleep.Load() {
				slept++
			}
		}
		check.Want(t, "sleeps", slept, 2000)
		check.Want(t, "finished", s.pool.Counts()[handler.Finish], sent)
	})
}

// TestRunEnds, awake and asleep.
func TestRunEnds(t *testing.T) {
	for _, after := range []time.Duration{0, 50 * ms, time.Hour} {
		check.Bubble(t, after.String(), func(t *testing.T) {
			s := newService(t, Config{}, takes(0))
			done, ended := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				s.Run(done)
			}()
			time.Sleep(after)
			began := time.Now()
			close(done)
			<-ended
			check.Want(t, "time until Run has ended", time.Since(began), 0)
			s.Wake() // does not block
			s.Wake()
		})
	}
}
