package pool

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// TestReclaimFromBlockedWorker: what waits in the batch of a blocked worker goes to an idle worker, whether
// it is awake or asleep.
func TestReclaimFromBlockedWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, asleep := range []bool{false, true} {
			q, src := newQueueOf(100), newSource()
			q.setBatchSize(maxBatch)
			batches := newBatches(q, 2)
			blocked, free := batches[0], batches[1]
			var taken []*handler.Delivery
			var running sync.WaitGroup
			run := func() {
				running.Go(func() {
					for m := q.take(free); m != nil; m = q.take(free) {
						taken = append(taken, m)
					}
				})
				synctest.Wait()
			}
			if asleep {
				run()
				q.mu.Lock() // the free worker must not take these first
				q.deque.pushBack(src.messages(0, 32))
				q.mu.Unlock()
			} else {
				mustPut(t, q, src.messages(0, 32))
			}
			wantNumbers(t, "blocked", take(q, blocked, 1), 0)
			if !asleep {
				run()
			}
			synctest.Wait()
			if waiting(q) != 0 || idle(q) != 1 {
				t.Errorf("asleep %v: %d wait, %d idle", asleep, waiting(q), idle(q))
			}
			got := numbers(taken)
			slices.Sort(got)
			if !slices.Equal(got, series(1, 31)) {
				t.Errorf("asleep %v: took %v", asleep, got)
			}
			q.close()
			running.Wait()
		}
	})
}

// TestReclaimStuck: what waits behind a slow handler is taken soon, although more arrives all the time and
// no worker is ever idle; what waits behind a quick one stays.
func TestReclaimStuck(t *testing.T) {
	q, src := newQueueOf(10000), newSource()
	q.setBatchSize(maxBatch)
	batches := newBatches(q, 3)
	blocked, quick := batches[0], batches[1:]
	mustPut(t, q, src.messages(0, 1000))
	take(q, blocked, 1) // 1 … 63 are in the batch
	seen := make(map[int]bool)
	for i := range 2 * 3 * maxBatch { // two rounds
		for _, worker := range quick {
			seen[int(q.take(worker).Attempts)] = true
		}
		mustPut(t, q, src.messages(1000+2*i, 2))
	}
	for i := 1; i < maxBatch; i++ {
		if !seen[i] {
			t.Errorf("message %d still waits", i)
		}
	}
	if n, _ := blocked.waiting(); n != 0 {
		t.Errorf("%d wait in the batch", n)
	}
	for m := range seen {
		if m > 2*2*3*maxBatch+2*maxBatch {
			t.Errorf("message %d was taken: the batches of quick workers were reclaimed, too", m)
		}
	}
}

// TestReclaimForSmallerBatch: a smaller batch size applies to what is in batches already.
func TestReclaimForSmallerBatch(t *testing.T) {
	q, src := newQueueOf(100), newSource()
	q.setBatchSize(maxBatch)
	batches := newBatches(q, 2)
	mustPut(t, q, src.messages(0, 40))
	wantNumbers(t, "taken", take(q, batches[0], 2), 0, 1) // 2 … 19 are in the batch
	q.setBatchSize(1)
	wantNumbers(t, "taken", take(q, batches[1], 15), series(2, 16)...)
	wantNumbers(t, "taken", take(q, batches[0], 1), 17)
	wantNumbers(t, "rest", q.close(), series(18, 39)...)
}

// TestDead: dead messages at the front are removed always, others only when room is needed. The order
// stays.
func TestDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, src, gone := newQueueOf(8), newSource(), newSource()
		mustPut(t, q, gone.messages(0, 2))
		mustPut(t, q, src.messages(2, 1))
		mustPut(t, q, gone.messages(3, 2))
		gone.end(handler.ErrConnLost)
		wantNumbers(t, "dead at the front", mustPut(t, q, src.messages(5, 2)), 0, 1)
		wantNumbers(t, "dead, with room", mustPut(t, q, src.messages(7, 3)))
		wantNumbers(t, "dead, without room", mustPut(t, q, src.messages(10, 1)), 3, 4)
		time.Sleep(time.Minute)
		wantNumbers(t, "dead when all have timed out", mustPut(t, q, src.messages(11, 2)), 2, 5, 6, 7, 8, 9, 10)
		time.Sleep(30 * time.Second)
		mustPut(t, q, src.messages(13, 1))
		wantNumbers(t, "dropped too early", q.dropDead())
		time.Sleep(30 * time.Second)
		wantNumbers(t, "dropped", q.dropDead(), 11, 12)
		wantNumbers(t, "rest", q.close(), 13)
	})
}
