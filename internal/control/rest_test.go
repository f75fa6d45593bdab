package control

import (
	"bytes"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
)

// workers returns how many workers have a goroutine.
func workers() int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte("pool.(*Pool).start in goroutine")) // each was created by it
}

// TestRest: the workers end when there was nothing to do for a minute, and Run looks once for that.
func TestRest(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{Concurrency: 8, MaxInFlight: 8, FixedRDY: true}, takes(time.Second))
		s.run()
		l := s.dial(nsqd1)
		time.Sleep(10 * time.Minute)
		for range 3 {
			began := time.Now()
			l.flood(1, 8)
			time.Sleep(time.Minute)
			check.Want(t, "workers before a minute is over", workers(), 8)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			check.Want(t, "workers after a minute", workers(), 0)
			time.Sleep(5 * time.Minute)
			late := 0
			for _, at := range s.looksSince(began) {
				if at > 30*time.Second {
					late++
				}
			}
			check.Want(t, "looks while there is nothing to do", late, 1)
		}
	})
}

// TestRestNot: a message now and then keeps the workers.
func TestRestNot(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{Concurrency: 8, MaxInFlight: 8, FixedRDY: true}, takes(time.Second))
		s.run()
		l := s.dial(nsqd1)
		l.flood(1, 8)
		time.Sleep(10 * time.Second)
		for i := range 20 {
			l.flood(uint64(0x10+i), 1)
			time.Sleep(50 * time.Second)
			check.Want(t, "workers", workers(), 8)
		}
	})
}

// TestNoSleepWithAMessage: Run does not sleep while a message is in hand that it has counted before it reached
// the pool, and which could not wake it.
func TestNoSleepWithAMessage(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{Concurrency: 2}, handle)
		s.alarm = time.NewTimer(time.Hour)
		s.Start()
		l := s.dial(nsqd1)
		s.measure()
		s.adjust(true)
		check.Want(t, "idle at first", s.idle(), true)
		l.flood(1, 1)
		synctest.Wait()
		s.received, s.busy = s.countReceived(), false // as a look of just before saw it
		check.Want(t, "idle with a message", s.idle(), false)
		check.Want(t, "sleeps", s.sleeps(), false)
		release()
		synctest.Wait()
		check.Want(t, "idle at last", s.idle(), true)
		s.alarm.Stop()
	})
}
