package pool

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// TestOrder: a single worker gets everything in order, whatever the batch size, while the deque grows and
// wraps around.
func TestOrder(t *testing.T) {
	for _, batch := range []int{1, 3, maxBatch} {
		q, src := newQueueOf(1000), newSource()
		q.setBatchSize(batch)
		worker := newBatches(q, 1)[0]
		in, out := 0, 0
		for _, n := range []int{1, 40, 63, 2, 100, 32, 300, 7} {
			mustPut(t, q, src.messages(in, n))
			in += n
			for range n/2 + 1 {
				m := q.take(worker)
				if int(m.Attempts) != out || worker.current() != m {
					t.Fatalf("batch %d: took %d, want %d", batch, m.Attempts, out)
				}
				out++
			}
			if waiting(q) != in-out {
				t.Fatalf("batch %d: %d wait, want %d", batch, waiting(q), in-out)
			}
		}
		wantNumbers(t, "rest", q.close(), series(out, in-1)...)
		if waiting(q) != 0 {
			t.Fatalf("%d left", waiting(q))
		}
	}
}

// TestTakeSize: a worker takes an even part of what waits, at most a batch.
func TestTakeSize(t *testing.T) {
	for _, tt := range []struct{ batch, workers, put, reserved int }{
		{1, 2, 100, 0},
		{2, 1, 100, 1},
		{maxBatch, 1, 100, maxBatch - 1},
		{maxBatch, 1, 3, 2},
		{maxBatch, 4, 20, 4},
		{5, 4, 100, 4},
		{maxBatch, 4, 7, 0},
		{maxBatch, 40, 7, 0},
		{maxBatch, 40, 50, 5}, // shared by twice as many workers as processors
		{maxBatch - 1, 40, 100, 1},
	} {
		q, src := newQueueOf(100), newSource()
		q.processors = 4
		q.setBatchSize(tt.batch)
		worker := newBatches(q, tt.workers)[0]
		mustPut(t, q, src.messages(0, tt.put))
		wantNumbers(t, "taken", take(q, worker, 1), 0)
		reserved, _ := worker.waiting()
		if reserved != tt.reserved || q.deque.n != tt.put-1-reserved || waiting(q) != tt.put-1 {
			t.Errorf("%+v: batch has %d, %d wait", tt, reserved, waiting(q))
		}
	}
}

// TestCapacity: put returns what has no room: the newest.
func TestCapacity(t *testing.T) {
	q, src := newQueueOf(5), newSource()
	put := func(first, n int, wantErr error, want ...uint16) {
		t.Helper()
		_, rest, _, err := q.put(src.messages(first, n))
		var got []uint16
		for i := range rest {
			got = append(got, rest[i].Attempts)
		}
		if !errors.Is(err, wantErr) || !slices.Equal(got, want) {
			t.Errorf("put: %v, rest %v, want %v, %v", err, got, wantErr, want)
		}
	}
	put(0, 3, nil)
	put(3, 4, ErrFlood, 5, 6)
	put(5, 1, ErrFlood, 5)
	setCapacity(q, 2, math.MaxInt)
	put(5, 2, ErrFlood, 5, 6)
	setCapacity(q, 6, math.MaxInt)
	put(5, 2, ErrFlood, 6)
	worker := newBatches(q, 1)[0]
	wantNumbers(t, "rest", q.close(), series(0, 5)...)
	put(6, 2, ErrClosed, 6, 7)
	if rest := q.close(); len(rest) != 0 {
		t.Errorf("%d messages in a closed queue", len(rest))
	}
	if m := q.take(worker); m != nil {
		t.Errorf("took %v from a closed queue", m)
	}
	if n := len(newBatches(q, 3)); n != 0 {
		t.Errorf("a closed queue wants %d workers", n)
	}
}

// TestCapacityOfBytes: bodies have a capacity as messages have. A single message of any size fits.
func TestCapacityOfBytes(t *testing.T) {
	q, src := newQueueOf(0), newSource()
	setCapacity(q, 5, 100)
	put := func(n, size, want int) {
		t.Helper()
		_, rest, _, err := q.put(src.bodies(n, size))
		if len(rest) != n-want || errors.Is(err, ErrFlood) != (want < n) {
			t.Errorf("%d of %d bytes: %d are rest, %v; want %d taken", n, size, len(rest), err, want)
		}
	}
	over := func(want bool) {
		t.Helper()
		if got := overCapacity(q); got != want {
			t.Errorf("over capacity is %v with %d messages of %d bytes", got, q.deque.n, q.deque.bytes)
		}
	}
	over(false)
	put(4, 30, 3)
	put(1, 11, 0)
	put(2, 10, 1)
	put(2, 0, 1) // the fifth message
	worker := newBatches(q, 1)[0]
	take(q, worker, 1)
	over(true)
	take(q, worker, 3)
	over(false)
	put(1, 101, 0)
	take(q, worker, 1)
	over(false)
	put(1, 101, 1)
	over(false) // nothing was refused
	put(1, 0, 0)
	over(true)
	setCapacity(q, 5, 1000)
	put(4, 400, 2)
	over(true)
	q.shed(2)
	over(true)
	put(4, 400, 1)
	q.shed(0)
	over(false)
	q.close()
}

// TestPutWaits: put tells of messages for which no worker is idle; one that has not started is.
func TestPutWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, src := newQueueOf(100), newSource()
		q.resize(3)
		put := func(what string, n int, want bool) {
			t.Helper()
			_, _, waits, err := q.put(src.messages(0, n))
			check.Want(t, what+": error", err, nil)
			check.Want(t, what+": waits", waits, want)
		}
		put("two, none started", 2, false)
		put("three", 1, false)
		put("four", 1, true)
		q.shed(0)
		workers := newBatches(q, 3)
		put("all busy", 1, true)
		q.shed(0)
		var running sync.WaitGroup
		for _, w := range workers[:2] {
			running.Go(func() { q.take(w) })
		}
		synctest.Wait()
		put("two asleep", 2, false)
		running.Wait()
		put("all busy again", 1, true)
		q.close()
	})
}

// TestSuspend: a suspended queue gives back what waits and takes nothing until resume.
func TestSuspend(t *testing.T) {
	q, src := newQueueOf(100), newSource()
	q.setBatchSize(maxBatch)
	workers := newBatches(q, 2)
	mustPut(t, q, src.messages(0, 20))
	wantNumbers(t, "taken", take(q, workers[0], 1), 0) // and 1 … 9
	newest := series(1, 19)
	slices.Reverse(newest)
	wantNumbers(t, "given back", q.suspend(), newest...)
	for range 2 {
		_, rest, _, err := q.put(src.messages(20, 3))
		if err != ErrSuspended || len(rest) != 3 || waiting(q) != 0 {
			t.Errorf("put into a suspended queue: %d are rest, %v; %d wait", len(rest), err, waiting(q))
		}
		wantNumbers(t, "given back again", q.suspend())
	}
	q.resume()
	mustPut(t, q, src.messages(20, 2))
	wantNumbers(t, "taken", take(q, workers[0], 2), 20, 21)
	q.suspend()
	q.close()
	if _, rest, _, err := q.put(src.messages(22, 3)); err != ErrClosed || len(rest) != 3 {
		t.Errorf("put into a suspended and closed queue: %d are rest, %v", len(rest), err)
	}
}

// TestShed: the newest messages go first, in batches and in the deque.
func TestShed(t *testing.T) {
	q, src := newQueueOf(100), newSource()
	q.setBatchSize(maxBatch)
	worker := newBatches(q, 1)[0]
	mustPut(t, q, src.messages(0, 20))
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

// TestResizeQueue: surplus workers exit, and their batches go to the others.
func TestResizeQueue(t *testing.T) {
	q, src := newQueueOf(100), newSource()
	q.setBatchSize(maxBatch)
	batches := newBatches(q, 3)
	mustPut(t, q, src.messages(0, 60))
	take(q, batches[0], 1) // 1 … 19 are in the batch
	take(q, batches[1], 1) // 20, and others
	if n := len(newBatches(q, 2)); n != 0 {
		t.Errorf("%d missing", n)
	}
	if m := q.take(batches[0]); m != nil {
		t.Errorf("took %d, but is surplus", m.Attempts)
	}
	take(q, batches[2], 1) // no longer surplus
	q.resize(1)
	if n := len(newBatches(q, 4)); n != 2 {
		t.Errorf("%d missing, want 2", n)
	}
	got := numbers(append(take(q, batches[1], 5), q.close()...))
	slices.Sort(got)
	if len(got) != 57 || len(slices.Compact(got)) != 57 {
		t.Errorf("left are %v", got)
	}
}

// TestModel runs random operations and compares with a list. No worker finds nothing while a message
// waits, and a single worker finds messages in order.
func TestModel(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		q, src := newQueueOf(50), newSource()
		var batches []*batch
		alone := seed%3 == 0 // a single worker
		if alone {
			batches = newBatches(q, 1)
		} else {
			batches = newBatches(q, 1+r.IntN(5))
		}
		var model []int // numbers of the messages that wait; in order if alone
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
				msgs := src.messages(next, n)
				for i := range msgs {
					msgs[i].Body = make([]byte, r.IntN(100))
				}
				_, rest, _, err := q.put(msgs)
				if (err != nil) != (len(rest) > 0) {
					t.Fatalf("seed %d: rest is %d of %d, %v", seed, len(rest), n, err)
				}
				model = append(model, series(next, next+n-len(rest)-1)...)
				next += n - len(rest)
			case 2:
				q.setBatchSize(1 + r.IntN(maxBatch))
			case 3:
				setCapacity(q, r.IntN(80), r.IntN(4000))
			case 4:
				keep := r.IntN(60)
				had := len(model)
				for _, n := range numbers(q.shed(keep)) {
					if alone && n != model[len(model)-1] {
						t.Fatalf("seed %d: %d was shed before %d", seed, n, model[len(model)-1])
					}
					remove("shed", n)
				}
				if len(model) != min(had, keep) {
					t.Fatalf("seed %d: %d left of %d, to keep %d", seed, len(model), had, keep)
				}
			case 5:
				if !alone {
					batches = append(batches, newBatches(q, 1+r.IntN(5))...)
				}
			default:
				i := r.IntN(len(batches))
				surplus := len(batches) > q.workers
				if reserved, _ := batches[i].waiting(); surplus && reserved > 0 {
					t.Fatalf("seed %d: a surplus worker has %d in its batch", seed, reserved)
				}
				if !surplus && len(model) == 0 {
					break // take would block
				}
				m := q.take(batches[i])
				if surplus != (m == nil) {
					t.Fatalf("seed %d: took %v, surplus: %v", seed, m, surplus)
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
				t.Fatalf("seed %d: has %d bytes, want %d", seed, q.deque.bytes, bytes)
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

// TestClose: a message is either returned by close, or current in a batch, or settled.
func TestClose(t *testing.T) {
	const workers, takes, messages = 2, 6, 40
	for round := range 2000 {
		q, src := newQueueOf(messages), newSource()
		q.setBatchSize(1 + round%maxBatch)
		batches := newBatches(q, workers)
		msgs := src.messages(0, messages)
		mustPut(t, q, msgs)
		var running, ready sync.WaitGroup
		ready.Add(workers + 1)
		for _, worker := range batches {
			running.Go(func() {
				for i := range takes {
					m := q.take(worker)
					if m == nil {
						return
					}
					if i == 0 { // more are in the batch
						ready.Done()
						ready.Wait()
					}
					m.Claim() // settled, and still current
				}
			})
		}
		ready.Done()
		ready.Wait()
		found := make(map[*handler.Delivery]string)
		for _, m := range q.close() {
			found[m] = "rest"
		}
		for _, worker := range batches {
			if m := lockedCurrent(q, worker); m != nil {
				found[m] += "worker"
			}
		}
		for i := range msgs {
			m := &msgs[i]
			if where := found[m]; where != "rest" && where != "worker" && !(where == "" && m.Claimed()) {
				t.Fatalf("message %d is with %q, claimed: %v", i, where, m.Claimed())
			}
		}
		running.Wait()
	}
}

// TestCloseUnderLoad: while messages are put and taken, each message is either taken by one worker or
// returned once.
func TestCloseUnderLoad(t *testing.T) {
	const producers, each = 3, 60
	for round := range 500 {
		q, src := newQueueOf(100), newSource()
		q.setBatchSize(1 + round%maxBatch)
		var seen [producers * each]atomic.Int32
		var running sync.WaitGroup
		for _, worker := range newBatches(q, 4) {
			running.Go(func() {
				for m := q.take(worker); m != nil; m = q.take(worker) {
					seen[m.Attempts].Add(1)
				}
			})
		}
		for i := range producers {
			running.Go(func() {
				for j := 0; j < each; j += 6 {
					_, rest, _, _ := q.put(src.messages(i*each+j, 6))
					for k := range rest {
						seen[rest[k].Attempts].Add(1)
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

// TestUnderLoad: every message is taken once.
func TestUnderLoad(t *testing.T) {
	const producers, workers, batches, batch = 3, 4, 2000, 5
	for _, most := range []int{1, maxBatch} {
		q, src := newQueueOf(producers*batches*batch), newSource()
		q.setBatchSize(most)
		var counts [producers * batches]atomic.Int64
		var running, producing, handling sync.WaitGroup
		handling.Add(producers * batches * batch)
		for _, worker := range newBatches(q, workers) {
			running.Go(func() {
				for m := q.take(worker); m != nil; m = q.take(worker) {
					counts[m.Attempts].Add(1)
					handling.Done()
				}
			})
		}
		for i := range producers {
			producing.Go(func() {
				for j := range batches {
					msgs := make([]handler.Delivery, batch)
					for k := range msgs {
						msgs[k].Init(&handler.Read{Source: src}, handler.ID{}, uint16(i*batches+j), 0, nil)
					}
					if _, _, _, err := q.put(msgs); err != nil {
						t.Errorf("put: %v", err)
					}
				}
			})
		}
		producing.Wait()
		handling.Wait()
		q.close()
		running.Wait()
		for i := range counts {
			if n := counts[i].Load(); n != batch {
				t.Fatalf("batch %d: %d messages taken", i, n)
			}
		}
	}
}
