package pool

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/handler"
)

// wakeups counts how often a worker wakes up: Wait locks again then.
type wakeups struct {
	sync.Locker
	n atomic.Int64
}

func (w *wakeups) Lock() {
	w.n.Add(1)
	w.Locker.Lock()
}

// TestWakeups: one message wakes one worker, a backlog wakes as many as it needs.
func TestWakeups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, src := newQueueOf(100), newSource()
		woken := &wakeups{Locker: &q.mu}
		var took atomic.Int64
		release := make(chan struct{})
		var workers sync.WaitGroup
		for _, w := range newWorkers(q, 8) {
			w.wake.L = woken
			workers.Go(func() {
				for next(q, w) != nil {
					took.Add(1)
					<-release
				}
			})
		}
		synctest.Wait()
		for i, n := range []int{1, 1, 3, 2, 1, 5} {
			mustPut(t, q, src.messages(0, n))
			synctest.Wait()
			if got, want := took.Load(), []int64{1, 2, 5, 7, 8, 8}[i]; got != want || woken.n.Load() != want {
				t.Errorf("%d taken, %d woken, want %d", got, woken.n.Load(), want)
			}
		}
		close(release)
		synctest.Wait()
		if took.Load() != 13 || waiting(q) != 0 || idle(q) != 8 {
			t.Errorf("%d taken, %d left, %d idle", took.Load(), waiting(q), idle(q))
		}
		q.close()
		workers.Wait()
	})
}

// TestNoLostWakeup: a message that was put is always taken, while workers start, exit, sleep and rest; else
// the bubble is stuck. Each message is taken by one worker, or shed.
func TestNoLostWakeup(t *testing.T) {
	const producers, rounds = 3, 3000
	synctest.Test(t, func(t *testing.T) {
		q, src := newQueueOf(1000), newSource()
		var seen [producers * rounds]atomic.Int32
		done := make([]chan struct{}, producers*rounds)
		for i := range done {
			done[i] = make(chan struct{}, 2) // room for a message that is wrongly seen twice
		}
		see := func(m *handler.Delivery) {
			seen[m.Attempts].Add(1)
			done[m.Attempts] <- struct{}{}
		}
		var running, producing sync.WaitGroup
		startWorkers(q, &running, see)
		q.resize(3)
		for i := range producers {
			producing.Go(func() {
				for j := 0; j < rounds; {
					n := 1 + j%5*(j%3) // mostly one
					n = min(n, rounds-j)
					if _, _, _, err := arrive(q, src.messages(i*rounds+j, n)); err != nil {
						t.Errorf("put: %v", err)
						return
					}
					for k := range n {
						<-done[i*rounds+j+k]
					}
					j += n
				}
			})
		}
		stop := make(chan struct{})
		running.Go(func() { // disturbs the others
			r := rand.New(rand.NewPCG(1, 7))
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch r.IntN(4) {
				case 0:
					q.resize(1 + r.IntN(6))
				case 1:
					for _, m := range q.shed(r.IntN(8)) {
						see(m)
					}
				case 2:
					q.rest()
				case 3:
					oldest(q)
					if n := waiting(q); n > producers*9 {
						t.Errorf("%d wait", n)
					}
				}
			}
		})
		producing.Wait()
		close(stop)
		if rest := q.close(); len(rest) != 0 {
			t.Errorf("%d are left", len(rest))
		}
		running.Wait()
		for i := range seen {
			if n := seen[i].Load(); n != 1 {
				t.Fatalf("message %d was seen %d times", i, n)
			}
		}
		if len(q.all) != 0 {
			t.Errorf("%d workers left", len(q.all))
		}
	})
}

// TestRendezvous: handlers that wait for each other, as many as there are workers, all get a worker,
// wherever their messages wait; else the bubble is stuck.
func TestRendezvous(t *testing.T) {
	const workers, rounds = 5, 4000
	synctest.Test(t, func(t *testing.T) {
		q, src := newQueueOf(1000), newSource()
		r := rand.New(rand.NewPCG(1, 11))
		var meeting, handling, running sync.WaitGroup
		waits := make([]bool, 100) // by number
		startWorkers(q, &running, func(m *handler.Delivery) {
			if waits[m.Attempts] {
				meeting.Done()
				meeting.Wait()
			}
			handling.Done()
		})
		q.resize(workers)
		for range rounds {
			n := workers + r.IntN(len(waits)-workers)
			for i := range n {
				waits[i] = i < workers
			}
			r.Shuffle(n, func(i, j int) { waits[i], waits[j] = waits[j], waits[i] })
			meeting.Add(workers)
			handling.Add(n)
			for first := 0; first < n; {
				size := min(1+r.IntN(40), n-first)
				mustPut(t, q, src.messages(first, size))
				first += size
			}
			if r.IntN(4) == 0 {
				q.rest()
			}
			handling.Wait()
		}
		q.close()
		running.Wait()
	})
}
