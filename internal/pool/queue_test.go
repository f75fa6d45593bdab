package pool

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/internal/check"
)

// TestOrder: a single worker gets everything in order, while the deque grows and wraps around.
func TestOrder(t *testing.T) {
	q, src := newQueueOf(1000), newSource()
	w := newWorkers(q, 1)[0]
	in, out := 0, 0
	for _, n := range []int{1, 40, 63, 2, 100, 32, 300, 7} {
		mustPut(t, q, src.messages(in, n))
		in += n
		for range n/2 + 1 {
			m := next(q, w)
			if int(m.Attempts) != out || current(q, w) != m {
				t.Fatalf("took %d, want %d", m.Attempts, out)
			}
			out++
		}
		if waiting(q) != in-out {
			t.Fatalf("%d wait, want %d", waiting(q), in-out)
		}
	}
	wantNumbers(t, "rest", q.close(), series(out, in-1)...)
	if waiting(q) != 0 {
		t.Fatalf("%d left", waiting(q))
	}
}

// TestCapacity: put returns what has no room: the newest.
func TestCapacity(t *testing.T) {
	q, src := newQueueOf(5), newSource()
	put := func(first, n int, wantErr error, want ...uint16) {
		t.Helper()
		_, rest, _, err := arrive(q, src.messages(first, n))
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
	w := newWorkers(q, 1)[0]
	wantNumbers(t, "rest", q.close(), series(0, 5)...)
	put(6, 2, ErrClosed, 6, 7)
	if rest := q.close(); len(rest) != 0 {
		t.Errorf("%d messages in a closed queue", len(rest))
	}
	if m := next(q, w); m != nil {
		t.Errorf("took %v from a closed queue", m)
	}
	if n := len(newWorkers(q, 3)); n != 0 {
		t.Errorf("a closed queue wants %d workers", n)
	}
}

// TestCapacityOfBytes: bodies have a capacity as messages have. A single message of any size fits.
func TestCapacityOfBytes(t *testing.T) {
	q, src := newQueueOf(0), newSource()
	setCapacity(q, 5, 100)
	put := func(n, size, want int) {
		t.Helper()
		_, rest, _, err := arrive(q, src.bodies(n, size))
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
	w := newWorkers(q, 1)[0]
	take(q, w, 1)
	over(true)
	take(q, w, 3)
	over(false)
	put(1, 101, 0)
	take(q, w, 1)
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
			_, _, waits, err := arrive(q, src.messages(0, n))
			check.Want(t, what+": error", err, nil)
			check.Want(t, what+": waits", waits, want)
		}
		put("two, none started", 2, false)
		put("three", 1, false)
		put("four", 1, true)
		q.shed(0)
		workers := newWorkers(q, 3)
		put("all busy", 1, true)
		q.shed(0)
		var running sync.WaitGroup
		for _, w := range workers[:2] {
			running.Go(func() { take(q, w, 1) })
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
	w := newWorkers(q, 2)[0]
	mustPut(t, q, src.messages(0, 20))
	wantNumbers(t, "taken", take(q, w, 1), 0)
	newest := series(1, 19)
	slices.Reverse(newest)
	wantNumbers(t, "given back", q.suspend(), newest...)
	for range 2 {
		_, rest, _, err := arrive(q, src.messages(20, 3))
		if err != ErrSuspended || len(rest) != 3 || waiting(q) != 0 {
			t.Errorf("put into a suspended queue: %d are rest, %v; %d wait", len(rest), err, waiting(q))
		}
		wantNumbers(t, "given back again", q.suspend())
	}
	q.resume()
	mustPut(t, q, src.messages(20, 2))
	wantNumbers(t, "taken", take(q, w, 2), 20, 21)
	q.suspend()
	q.close()
	if _, rest, _, err := arrive(q, src.messages(22, 3)); err != ErrClosed || len(rest) != 3 {
		t.Errorf("put into a suspended and closed queue: %d are rest, %v", len(rest), err)
	}
}

// TestShed: the newest messages go first.
func TestShed(t *testing.T) {
	q, src := newQueueOf(100), newSource()
	w := newWorkers(q, 1)[0]
	mustPut(t, q, src.messages(0, 20))
	wantNumbers(t, "taken", take(q, w, 1), 0)
	wantNumbers(t, "beyond 19", q.shed(19))
	wantNumbers(t, "beyond 17", q.shed(17), 19, 18)
	wantNumbers(t, "taken", take(q, w, 1), 1)
	wantNumbers(t, "beyond 3", q.shed(3), 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5)
	wantNumbers(t, "taken", take(q, w, 1), 2)
	wantNumbers(t, "all", q.shed(0), 4, 3)
	if waiting(q) != 0 {
		t.Errorf("%d wait", waiting(q))
	}
}

// TestResizeQueue: surplus workers exit, those first that come first, and the others take what is left.
func TestResizeQueue(t *testing.T) {
	q, src := newQueueOf(100), newSource()
	workers := newWorkers(q, 3)
	mustPut(t, q, src.messages(0, 60))
	wantNumbers(t, "taken by the first", take(q, workers[0], 1), 0)
	wantNumbers(t, "taken by the second", take(q, workers[1], 1), 1)
	if n := len(newWorkers(q, 2)); n != 0 {
		t.Errorf("%d missing", n)
	}
	if m := next(q, workers[0]); m != nil {
		t.Errorf("took %d, but is surplus", m.Attempts)
	}
	wantNumbers(t, "taken by the third, no longer surplus", take(q, workers[2], 1), 2)
	q.resize(1)
	if n := len(newWorkers(q, 4)); n != 2 {
		t.Errorf("%d missing, want 2", n)
	}
	wantNumbers(t, "taken by the second again", take(q, workers[1], 5), series(3, 7)...)
	wantNumbers(t, "rest", q.close(), series(8, 59)...)
}

// TestModel runs random operations and compares with a list. No worker finds nothing while a message
// waits, and a single worker finds messages in order.
func TestModel(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		q, src := newQueueOf(50), newSource()
		var workers []*worker
		alone := seed%3 == 0 // a single worker
		if alone {
			workers = newWorkers(q, 1)
		} else {
			workers = newWorkers(q, 1+r.IntN(5))
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
		sent := 0
		for range 400 {
			switch r.IntN(11) {
			case 0, 1:
				n := r.IntN(40)
				msgs := src.messages(sent, n)
				for i := range msgs {
					msgs[i].Body = make([]byte, r.IntN(100))
				}
				_, rest, _, err := arrive(q, msgs)
				if (err != nil) != (len(rest) > 0) {
					t.Fatalf("seed %d: rest is %d of %d, %v", seed, len(rest), n, err)
				}
				model = append(model, series(sent, sent+n-len(rest)-1)...)
				sent += n - len(rest)
			case 2:
				setCapacity(q, r.IntN(80), r.IntN(4000))
			case 3:
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
			case 4:
				if !alone {
					workers = append(workers, newWorkers(q, 1+r.IntN(5))...)
				}
			default:
				i := r.IntN(len(workers))
				surplus := len(workers) > q.workers
				if !surplus && len(model) == 0 {
					break // take would block
				}
				m := next(q, workers[i])
				if surplus != (m == nil) {
					t.Fatalf("seed %d: took %v, surplus: %v", seed, m, surplus)
				}
				if m == nil {
					workers = slices.Delete(workers, i, i+1)
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
		for _, w := range workers {
			if m := next(q, w); m != nil {
				t.Fatalf("seed %d: took %v from a closed queue", seed, m)
			}
		}
		if len(model) != 0 || len(q.all) != 0 {
			t.Fatalf("seed %d: %v and %d workers left", seed, model, len(q.all))
		}
	}
}
