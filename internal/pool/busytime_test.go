package pool

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
)

func TestBusyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := busyTime{since: time.Now()}
		check := func(want time.Duration) {
			t.Helper()
			if b.add(0, time.Now()); b.total != want {
				t.Errorf("%v, want %v", b.total, want)
			}
		}
		time.Sleep(time.Second)
		check(0)
		b.add(1, time.Now())
		time.Sleep(time.Second)
		check(time.Second)
		b.add(3, time.Now())
		time.Sleep(time.Second)
		check(5 * time.Second)
		b.add(-2, time.Now())
		time.Sleep(time.Second)
		b.add(-2, time.Now())
		time.Sleep(time.Hour)
		check(7 * time.Second)
	})
}

// TestBusyTimeOfWorkers: a worker is busy from joining or waking up until it sleeps or exits, running
// handlers included.
func TestBusyTimeOfWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, src := newQueueOf(100), newSource()
		var running sync.WaitGroup
		for _, w := range newWorkers(q, 2) {
			running.Go(func() {
				for next(q, w) != nil {
					time.Sleep(3 * time.Second)
				}
			})
		}
		time.Sleep(time.Minute)
		check.Want(t, "of sleeping workers", busy(q), 0)
		mustPut(t, q, src.messages(0, 3))
		time.Sleep(time.Second)
		check.Want(t, "while handlers run", busy(q), 2*time.Second)
		time.Sleep(3 * time.Second)
		check.Want(t, "while one handler runs", busy(q), 7*time.Second)
		time.Sleep(time.Minute)
		check.Want(t, "at last", busy(q), 9*time.Second)
		mustPut(t, q, src.messages(3, 1))
		synctest.Wait()
		q.close()
		time.Sleep(time.Minute)
		check.Want(t, "after close", busy(q), 12*time.Second)
		running.Wait()
	})
}
