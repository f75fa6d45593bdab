package pool

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// take takes n messages for a worker and returns their numbers.
func take(q *queue, worker *batch, n int) (taken []*handler.Delivery) {
	for range n {
		taken = append(taken, q.take(worker))
	}
	return taken
}

// TestPocketShare: a worker takes its share of what waits, at most a batch of it.
func TestPocketShare(t *testing.T) {
	for _, tt := range []struct{ batch, workers, put, held int }{
		{1, 2, 100, 0},
		{2, 1, 100, 1},
		{maxBatch, 1, 100, 63},
		{maxBatch, 1, 3, 2},
		{maxBatch, 4, 100, 24},
		{16, 4, 100, 15},
		{maxBatch, 4, 7, 0},
		{maxBatch, 40, 7, 0},
		{maxBatch, 40, 100, 11}, // no more than eight run at once
		{maxBatch - 1, 40, 100, 1},
	} {
		q, p := newQueueOf(100), newPlace()
		q.processors = 4
		q.setBatchSize(tt.batch)
		worker := staff(q, tt.workers)[0]
		mustPut(t, q, p.messages(0, tt.put))
		wantNumbers(t, "taken", take(q, worker, 1), 0)
		held, _ := worker.waiting()
		if held != tt.held || q.deque.n != tt.put-1-held || waiting(q) != tt.put-1 {
			t.Errorf("%+v: batch holds %d, %d wait", tt, held, waiting(q))
		}
	}
}

// TestPocketOfABlockedWorker: what is in it goes to a worker that finds nothing else, awake or asleep.
func TestPocketOfABlockedWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, asleep := range []bool{false, true} {
			q, p := newQueueOf(100), newPlace()
			q.setBatchSize(maxBatch)
			batches := staff(q, 2)
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
				q.mu.Lock() // keeps the free one from being the first
				q.deque.pushBack(p.messages(0, 32))
				q.mu.Unlock()
			} else {
				mustPut(t, q, p.messages(0, 32))
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
				t.Errorf("asleep %v: taken %v", asleep, got)
			}
			q.close()
			running.Wait()
		}
	})
}

// TestPocketWakes: who takes the last message of the deque wakes a worker for one that is in a batch.
func TestPocketWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, p := newQueueOf(100), newPlace()
		batches := staff(q, 3)
		blocked, free, sleeper := batches[0], batches[1], batches[2]
		var taken *handler.Delivery
		var running sync.WaitGroup
		running.Go(func() { taken = q.take(sleeper) })
		synctest.Wait()
		q.mu.Lock() // filled before the sleeper could come
		q.deque.pushBack(p.messages(0, 3))
		blocked.fill(q.deque.popFront(2)) // one to handle
		q.hasReserved = true
		q.mu.Unlock()
		wantNumbers(t, "taken", take(q, free, 1), 2)
		running.Wait()
		wantNumbers(t, "taken by who slept", []*handler.Delivery{taken}, 1)
	})
}

// TestPocketIsNotOvertakenForLong: what waits behind a slow handler is taken soon, although more comes all the time and no
// worker is ever idle; what waits behind a fast one stays.
func TestPocketIsNotOvertakenForLong(t *testing.T) {
	q, p := newQueueOf(10000), newPlace()
	q.setBatchSize(maxBatch)
	batches := staff(q, 3)
	blocked, fast := batches[0], batches[1:]
	mustPut(t, q, p.messages(0, 1000))
	take(q, blocked, 1) // and 1 … 63 for its batch
	seen := make(map[int]bool)
	for i := range 2 * 3 * maxBatch { // two rounds
		for _, worker := range fast {
			seen[int(q.take(worker).Attempts)] = true
		}
		mustPut(t, q, p.messages(1000+2*i, 2))
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
			t.Errorf("message %d was taken: the batches of the fast workers were emptied, too", m)
		}
	}
}

// TestPocketSmallerBatch: who takes less from now on does not keep what was taken.
func TestPocketSmallerBatch(t *testing.T) {
	q, p := newQueueOf(100), newPlace()
	q.setBatchSize(maxBatch)
	batches := staff(q, 2)
	mustPut(t, q, p.messages(0, 40))
	wantNumbers(t, "taken", take(q, batches[0], 2), 0, 1) // and 2 … 19 for its batch
	q.setBatchSize(1)
	wantNumbers(t, "taken", take(q, batches[1], 15), series(2, 16)...)
	wantNumbers(t, "taken", take(q, batches[0], 1), 17)
	wantNumbers(t, "rest", q.close(), series(18, 39)...)
}

// TestQueueTrim: the newest go, wherever they are.
func TestQueueTrim(t *testing.T) {
	q, p := newQueueOf(100), newPlace()
	q.setBatchSize(maxBatch)
	worker := staff(q, 1)[0]
	mustPut(t, q, p.messages(0, 20))
	wantNumbers(t, "taken", take(q, worker, 1), 0)
	wantNumbers(t, "beyond 19", q.shed(19))
	wantNumbers(t, "beyond 17", q.shed(17), 19, 18)
	wantNumbers(t, "taken", take(q, worker, 1), 1)
	wantNumbers(t, "beyond 3", q.shed(3), 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5)
	wantNumbers(t, "taken", take(q, worker, 1), 2)
	wantNumbers(t, "all", q.shed(0), 4, 3)
	if waiting(q) != 0 {
		t.Errorf("%d wait", waiting(q))
	}
}

// TestQueueOldest: in the deque or in a batch.
func TestQueueOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, p := newQueueOf(100), newPlace()
		q.setBatchSize(maxBatch)
		worker := staff(q, 1)[0]
		start := time.Now()
		if oldest(q) != nil {
			t.Error("an empty queue has an oldest message")
		}
		for i := range 5 {
			mustPut(t, q, p.messages(2*i, 2))
			time.Sleep(time.Second)
		}
		for i := range 10 {
			if at := oldest(q).Received().Sub(start); at != time.Duration(i/2)*time.Second {
				t.Errorf("%d taken: the oldest is of %v", i, at)
			}
			q.take(worker)
			if i == 4 {
				mustPut(t, q, p.messages(10, 1)) // newer, and alone in the deque
			}
		}
		if at := oldest(q).Received().Sub(start); at != 5*time.Second {
			t.Errorf("in the end the oldest is of %v", at)
		}
	})
}

// TestQueueResize: workers that are too many end, and leave nothing behind.
func TestQueueResize(t *testing.T) {
	q, p := newQueueOf(100), newPlace()
	q.setBatchSize(maxBatch)
	batches := staff(q, 3)
	mustPut(t, q, p.messages(0, 60))
	take(q, batches[0], 1) // and 1 … 19
	take(q, batches[1], 1) // 20, and others
	if missing := q.resize(2); missing != 0 {
		t.Errorf("%d missing", missing)
	}
	if m := q.take(batches[0]); m != nil {
		t.Errorf("took %d, is one too many", m.Attempts)
	}
	take(q, batches[2], 1) // not too many any more
	q.resize(1)
	if missing := q.resize(4); missing != 2 {
		t.Errorf("%d missing, want 2", missing)
	}
	got := numbers(append(take(q, batches[1], 5), q.close()...))
	slices.Sort(got)
	if len(got) != 57 || len(slices.Compact(got)) != 57 {
		t.Errorf("left are %v", got)
	}
}

// TestQueueModel does everything at random, and compares with a list. A worker never finds nothing while something waits,
// whoever else has it, and a single one finds it in order.
func TestQueueModel(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		q, p := newQueueOf(50), newPlace()
		var batches []*batch
		alone := seed%3 == 0 // one worker all the time
		if alone {
			batches = staff(q, 1)
		} else {
			batches = staff(q, 1+r.IntN(5))
		}
		var model []int // numbers of what waits; in order if alone
		remove := func(what string, n int) {
			t.Helper()
			i := slices.Index(model, n)
			if i < 0 {
				t.Fatalf("seed %d: %s %d, of %v", seed, what, n, model)
			}
			model = slices.Delete(model, i, i+1)
		}
		next := 0
		for range 400 {
			switch r.IntN(12) {
			case 0, 1:
				n := r.IntN(40)
				msgs := p.messages(next, n)
				for i := range msgs {
					msgs[i].Body = make([]byte, r.IntN(100))
				}
				_, overflow, err := q.put(msgs)
				if (err != nil) != (len(overflow) > 0) {
					t.Fatalf("seed %d: %d of %d do not fit, %v", seed, len(overflow), n, err)
				}
				model = append(model, series(next, next+n-len(overflow)-1)...)
				next += n - len(overflow)
			case 2:
				q.setBatchSize(1 + r.IntN(maxBatch))
			case 3:
				setCapacity(q, r.IntN(80), r.IntN(4000))
			case 4:
				keep := r.IntN(60)
				had := len(model)
				for _, n := range numbers(q.shed(keep)) {
					if alone && n != model[len(model)-1] {
						t.Fatalf("seed %d: %d was cut off before %d", seed, n, model[len(model)-1])
					}
					remove("cut off", n)
				}
				if len(model) != min(had, keep) {
					t.Fatalf("seed %d: %d left of %d, to keep %d", seed, len(model), had, keep)
				}
			case 5:
				if !alone {
					batches = append(batches, staff(q, 1+r.IntN(5))...)
				}
			default:
				i := r.IntN(len(batches))
				surplus := len(batches) > q.workers
				if held, _ := batches[i].waiting(); surplus && held > 0 {
					t.Fatalf("seed %d: a worker too many holds %d", seed, held)
				}
				if !surplus && len(model) == 0 {
					break // it would wait
				}
				m := q.take(batches[i])
				if surplus != (m == nil) {
					t.Fatalf("seed %d: took %v, one too many: %v", seed, m, surplus)
				}
				if m == nil {
					batches = slices.Delete(batches, i, i+1)
					break
				}
				if alone && int(m.Attempts) != model[0] {
					t.Fatalf("seed %d: took %d, want %d", seed, m.Attempts, model[0])
				}
				remove("took", int(m.Attempts))
			}
			if waiting(q) != len(model) {
				t.Fatalf("seed %d: %d wait, want %d", seed, waiting(q), len(model))
			}
			bytes := 0
			for i := range q.deque.used {
				bytes += q.deque.at(i).bytes()
			}
			if q.deque.bytes != bytes {
				t.Fatalf("seed %d: counts %d bytes, want %d", seed, q.deque.bytes, bytes)
			}
		}
		for _, n := range numbers(q.close()) {
			remove("closed", n)
		}
		for _, worker := range batches {
			if m := q.take(worker); m != nil {
				t.Fatalf("seed %d: took %v from a closed queue", seed, m)
			}
		}
		if len(model) != 0 || len(q.batches) != 0 {
			t.Fatalf("seed %d: %v and %d batches left", seed, model, len(q.batches))
		}
	}
}

// TestQueueNoLostWakeup: whoever puts one message and waits for it does not wait for ever, whoever comes, goes and sleeps
// meanwhile; the bubble would say so. In the end each message was with exactly one worker, or was given back.
func TestQueueNoLostWakeup(t *testing.T) {
	const producers, rounds = 3, 3000
	for _, most := range []int{1, 3, maxBatch} {
		synctest.Test(t, func(t *testing.T) {
			q, p := newQueueOf(1000), newPlace()
			q.setBatchSize(most)
			var seen [producers * rounds]atomic.Int32
			done := make([]chan struct{}, producers*rounds)
			for i := range done {
				done[i] = make(chan struct{}, 2) // a message that is seen twice shall not block
			}
			see := func(m *handler.Delivery) {
				seen[m.Attempts].Add(1)
				done[m.Attempts] <- struct{}{}
			}
			var running, producing sync.WaitGroup
			hire := func(n int) {
				for _, worker := range staff(q, n) {
					running.Go(func() {
						for m := q.take(worker); m != nil; m = q.take(worker) {
							see(m)
						}
					})
				}
			}
			hire(3)
			for i := range producers {
				producing.Go(func() {
					for j := 0; j < rounds; {
						n := 1 + j%5*(j%3) // mostly one
						n = min(n, rounds-j)
						if _, _, err := q.put(p.messages(i*rounds+j, n)); err != nil {
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
			running.Go(func() { // disturbs
				r := rand.New(rand.NewPCG(uint64(most), 7))
				for {
					select {
					case <-stop:
						return
					default:
					}
					switch r.IntN(4) {
					case 0:
						hire(1 + r.IntN(6))
					case 1:
						q.setBatchSize(1 + r.IntN(most))
					case 2:
						for _, m := range q.shed(r.IntN(8)) {
							see(m)
						}
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
				t.Errorf("%d left", len(rest))
			}
			running.Wait()
			for i := range seen {
				if n := seen[i].Load(); n != 1 {
					t.Fatalf("message %d was seen %d times", i, n)
				}
			}
			if len(q.batches) != 0 {
				t.Errorf("%d batches left", len(q.batches))
			}
		})
	}
}

// TestQueueRendezvous: as many handlers that wait for each other as there are workers all get one, wherever they lie among
// others and whoever had taken them first; else the bubble would be stuck.
func TestQueueRendezvous(t *testing.T) {
	const workers, rounds = 5, 4000
	for _, most := range []int{1, 4, maxBatch} {
		synctest.Test(t, func(t *testing.T) {
			q, p := newQueueOf(1000), newPlace()
			q.setBatchSize(most)
			r := rand.New(rand.NewPCG(uint64(most), 11))
			var meeting, handling, running sync.WaitGroup
			waits := make([]bool, 100) // by number
			for _, worker := range staff(q, workers) {
				running.Go(func() {
					for m := q.take(worker); m != nil; m = q.take(worker) {
						if waits[m.Attempts] {
							meeting.Done()
							meeting.Wait()
						}
						handling.Done()
					}
				})
			}
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
					mustPut(t, q, p.messages(first, size))
					first += size
				}
				handling.Wait()
			}
			q.close()
			running.Wait()
		})
	}
}

// TestQueueClosedInTheMiddle: of what was put when the queue is closed, each message was with one worker, or is in one of the
// rests.
func TestQueueClosedInTheMiddle(t *testing.T) {
	const producers, each = 3, 60
	for round := range 500 {
		q, p := newQueueOf(100), newPlace()
		q.setBatchSize(1 + round%maxBatch)
		var seen [producers * each]atomic.Int32
		var running sync.WaitGroup
		for _, worker := range staff(q, 4) {
			running.Go(func() {
				for m := q.take(worker); m != nil; m = q.take(worker) {
					seen[m.Attempts].Add(1)
				}
			})
		}
		for i := range producers {
			running.Go(func() {
				for j := 0; j < each; j += 6 {
					_, overflow, _ := q.put(p.messages(i*each+j, 6))
					for k := range overflow {
						seen[overflow[k].Attempts].Add(1)
					}
				}
			})
		}
		running.Go(func() {
			for _, m := range q.shed(round % 20) {
				seen[m.Attempts].Add(1)
			}
			q.resize(1 + round%4)
			for _, m := range q.close() {
				seen[m.Attempts].Add(1)
			}
		})
		running.Wait()
		for i := range seen {
			if n := seen[i].Load(); n != 1 {
				t.Fatalf("message %d was seen %d times", i, n)
			}
		}
	}
}
