package pool

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// TestOldest: the oldest message that waits is found, wherever in a write it came.
func TestOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, src := newQueueOf(100), newSource()
		w := newWorkers(q, 1)[0]
		start := time.Now()
		if oldest(q) != nil {
			t.Error("an empty queue has an oldest message")
		}
		for i := range 5 {
			mustPut(t, q, src.messages(2*i, 2))
			time.Sleep(time.Second)
		}
		for i := range 10 {
			if at := oldest(q).Received().Sub(start); at != time.Duration(i/2)*time.Second {
				t.Errorf("%d taken: the oldest was received after %v", i, at)
			}
			take(q, w, 1)
			if i == 4 {
				mustPut(t, q, src.messages(10, 1)) // newer
			}
		}
		if at := oldest(q).Received().Sub(start); at != 5*time.Second {
			t.Errorf("at the end the oldest was received after %v", at)
		}
	})
}

// TestSnapshot shows running and waiting messages.
func TestSnapshot(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 3, takes(time.Second))
		l := s.dial(nsqd1)
		began := time.Now()
		l.flood(1, 2)
		synctest.Wait()
		snapshot := s.Snapshot()
		check.Want(t, "running", len(snapshot.Running), 2)
		check.Want(t, "idle", snapshot.Idle, 1)
		check.Want(t, "waiting", snapshot.Waiting, 0)
		check.Want(t, "oldest", snapshot.Oldest, nil)
		time.Sleep(500 * time.Millisecond)
		l.flood(3, 9)
		synctest.Wait()
		snapshot = s.Snapshot()
		check.Want(t, "running", len(snapshot.Running), 3)
		check.Want(t, "idle", snapshot.Idle, 0)
		check.Want(t, "waiting", snapshot.Waiting, 8)
		check.Want(t, "oldest", snapshot.Oldest.Received(), began.Add(500*time.Millisecond))
		check.Want(t, "busy time", snapshot.BusyTime, time.Second)
		time.Sleep(time.Minute)
		snapshot = s.Snapshot()
		check.Want(t, "running at the end", len(snapshot.Running), 0)
		check.Want(t, "idle at the end", snapshot.Idle, 3)
		check.Want(t, "waiting at the end", snapshot.Waiting, 0)
		check.Want(t, "results", snapshot.Results, 11)
		check.Want(t, "busy time at the end", snapshot.BusyTime, 11*time.Second)
		s.wantCounts("counts", disposed{handler.Finish: 11})
	})
}

// lateLocker is a lock that a worker gets only after release, when it has been woken.
type lateLocker struct {
	sync.Locker
	release chan struct{}
}

func (l *lateLocker) Lock() {
	<-l.release
	l.Locker.Lock()
}

// TestIdle: a worker is idle while it sleeps and until it runs again.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, src := newQueueOf(100), newSource()
		w := newWorkers(q, 1)[0]
		check.Want(t, "at first", idle(q), 0)
		late := &lateLocker{&q.mu, make(chan struct{})}
		w.wake.L = late
		var running sync.WaitGroup
		running.Go(func() { q.take(w) })
		synctest.Wait()
		check.Want(t, "asleep", idle(q), 1)
		mustPut(t, q, src.messages(1, 1))
		synctest.Wait()
		check.Want(t, "waking up", idle(q), 1)
		check.Want(t, "waiting", waiting(q), 1)
		close(late.release)
		running.Wait()
		check.Want(t, "busy", idle(q), 0)
		check.Want(t, "waiting at last", waiting(q), 0)
	})
}

// TestOverCapacity: true from a message that found no room until half of the capacity is free.
func TestOverCapacity(t *testing.T) {
	q, src := newQueueOf(4), newSource()
	w := newWorkers(q, 1)[0]
	mustPut(t, q, src.messages(0, 4))
	check.Want(t, "at capacity", overCapacity(q), false)
	if _, rest, _, err := arrive(q, src.messages(4, 1)); len(rest) != 1 || err == nil {
		t.Fatalf("put: rest %d, %v", len(rest), err)
	}
	check.Want(t, "beyond capacity", overCapacity(q), true)
	take(q, w, 1)
	check.Want(t, "with 3 of 4", overCapacity(q), true)
	take(q, w, 1)
	check.Want(t, "with 2 of 4", overCapacity(q), false)
	mustPut(t, q, src.messages(4, 2))
	check.Want(t, "at capacity again", overCapacity(q), false)
}

// TestCountsSurvive: messages settled by workers that have ended still count.
func TestCountsSurvive(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var n atomic.Int32
		s := newService(t, 1, func(*handler.Delivery) error {
			if n.Add(1)%3 == 0 {
				return errBill
			}
			return nil
		})
		l := s.dial(nsqd1)
		for i := range 10 {
			l.flood(uint64(1+3*i), 3)
			synctest.Wait()
			s.Resize(1 + i%2)
			synctest.Wait()
			check.Want(t, "results", s.Snapshot().Results, uint64(3*(i+1)))
			s.wantCounts("counts", disposed{handler.Finish: uint64(2 * (i + 1)), handler.Requeue: uint64(i + 1)})
		}
		s.wantStop(0)
		check.Want(t, "results at the end", s.Snapshot().Results, 30)
		check.Want(t, "given back at the end", s.Snapshot().GivenBack, 0) // a handler has seen each
		s.wantCounts("counts at the end", disposed{handler.Finish: 20, handler.Requeue: 10})
	})
}
