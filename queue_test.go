package nsqx

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// place is a source of messages: one that may be gone.
type place struct {
	ctx   context.Context
	leave context.CancelCauseFunc
	terms handler.Terms
}

func newPlace() *place {
	p := &place{terms: handler.Terms{Start: time.Now(), MessageTimeout: time.Minute}}
	p.ctx, p.leave = context.WithCancelCause(context.Background())
	return p
}

func (p *place) Topic() string                 { return "orders" }
func (p *place) Channel() string               { return "billing" }
func (p *place) NSQD() string                  { return "nsqd-1:4150" }
func (p *place) Context() context.Context      { return p.ctx }
func (p *place) Terms() *handler.Terms         { return &p.terms }
func (p *place) Touch(*handler.Delivery) error { return nil }

// messages makes n of them, numbered from first by their attempts.
func (p *place) messages(first, n int) []handler.Delivery {
	msgs := make([]handler.Delivery, n)
	for i := range msgs {
		msgs[i].Init(&handler.Read{Source: p, At: p.terms.Now()}, handler.ID{}, uint16(first+i), 0, nil)
	}
	return msgs
}

func pointers(msgs []handler.Delivery) []*handler.Delivery {
	p := make([]*handler.Delivery, len(msgs))
	for i := range msgs {
		p[i] = &msgs[i]
	}
	return p
}

func numbers(msgs []*handler.Delivery) []int {
	var n []int
	for _, m := range msgs {
		n = append(n, int(m.Attempts))
	}
	return n
}

// bodies makes n messages of so many bytes each.
func (p *place) bodies(n, size int) []handler.Delivery {
	msgs := p.messages(0, n)
	for i := range msgs {
		msgs[i].Body = make([]byte, size)
	}
	return msgs
}

func mustPut(t *testing.T, q *queue, msgs []handler.Delivery) (dead []*handler.Delivery) {
	t.Helper()
	dead, overflow, err := q.put(msgs)
	if err != nil || overflow != nil {
		t.Fatalf("put: %v; %d too many", err, len(overflow))
	}
	return dead
}

// staff makes n workers, of whom there are only the pockets.
func staff(q *queue, n int) []*pocket {
	pockets := make([]*pocket, q.resize(n))
	for i := range pockets {
		pockets[i] = &pocket{answer: func([]handler.Delivery) {}}
		q.join(pockets[i])
	}
	return pockets
}

// wantNumbers checks messages by their numbers.
func wantNumbers(t *testing.T, what string, got []*handler.Delivery, want ...int) {
	t.Helper()
	if n := numbers(got); !slices.Equal(n, want) {
		t.Fatalf("%s: %v, want %v", what, n, want)
	}
}

// series are the numbers from first to last.
func series(first, last int) (n []int) {
	for i := first; i <= last; i++ {
		n = append(n, i)
	}
	return n
}

// TestQueueOrder, through growth and wrapping round: a single worker gets everything in order, however much it takes at once.
func TestQueueOrder(t *testing.T) {
	for _, batch := range []int{1, 3, maxBatch} {
		q, p := newQueue(1000), newPlace()
		q.setBatch(batch)
		worker := staff(q, 1)[0]
		in, out := 0, 0
		for _, n := range []int{1, 40, 63, 2, 100, 32, 300, 7} {
			mustPut(t, q, p.messages(in, n))
			in += n
			for range n/2 + 1 {
				m := q.take(worker)
				if int(m.Attempts) != out || worker.current() != m {
					t.Fatalf("batch %d: took %d, want %d", batch, m.Attempts, out)
				}
				out++
			}
			if q.waiting() != in-out {
				t.Fatalf("batch %d: %d wait, want %d", batch, q.waiting(), in-out)
			}
		}
		wantNumbers(t, "rest", q.close(), series(out, in-1)...)
		if q.waiting() != 0 {
			t.Fatalf("%d left", q.waiting())
		}
	}
}

func TestQueueLimit(t *testing.T) {
	q, p := newQueue(5), newPlace()
	put := func(first, n int, wantErr error, want ...uint16) {
		t.Helper()
		_, overflow, err := q.put(p.messages(first, n))
		var got []uint16
		for i := range overflow {
			got = append(got, overflow[i].Attempts)
		}
		if !errors.Is(err, wantErr) || !slices.Equal(got, want) {
			t.Errorf("put: %v, %v left, want %v, %v", err, got, wantErr, want)
		}
	}
	put(0, 3, nil)
	put(3, 4, errFlood, 5, 6)
	put(5, 1, errFlood, 5)
	q.setLimit(2, math.MaxInt)
	put(5, 2, errFlood, 5, 6)
	q.setLimit(6, math.MaxInt)
	put(5, 2, errFlood, 6)
	worker := staff(q, 1)[0]
	wantNumbers(t, "rest", q.close(), series(0, 5)...)
	put(6, 2, errQueueClosed, 6, 7)
	if rest := q.close(); len(rest) != 0 {
		t.Errorf("%d messages in a closed queue", len(rest))
	}
	if m := q.take(worker); m != nil {
		t.Errorf("took %v from a closed queue", m)
	}
	if missing := q.resize(3); missing != 0 {
		t.Errorf("a closed queue wants %d workers", missing)
	}
}

// TestQueueBytes: bodies are bounded as messages are; but for a single one, however large it is.
func TestQueueBytes(t *testing.T) {
	q, p := newQueue(0), newPlace()
	q.setLimit(5, 100)
	put := func(n, size, want int) {
		t.Helper()
		_, overflow, err := q.put(p.bodies(n, size))
		if len(overflow) != n-want || errors.Is(err, errFlood) != (want < n) {
			t.Errorf("%d of %d bytes: %d left, %v; want that %d get in", n, size, len(overflow), err, want)
		}
	}
	crowded := func(want bool) {
		t.Helper()
		if got := q.isCrowded(); got != want {
			t.Errorf("crowded is %v with %d messages of %d bytes", got, q.ring.n, q.ring.bytes)
		}
	}
	crowded(false)
	put(4, 30, 3)
	put(1, 11, 0)
	put(2, 10, 1)
	put(2, 0, 1) // that is 5
	worker := staff(q, 1)[0]
	take(q, worker, 1)
	crowded(true)
	take(q, worker, 3)
	crowded(false)
	put(1, 101, 0)
	take(q, worker, 1)
	crowded(false)
	put(1, 101, 1)
	crowded(false) // nothing was refused
	put(1, 0, 0)
	crowded(true)
	q.setLimit(5, 1000)
	put(4, 400, 2)
	crowded(true)
	q.trim(2)
	crowded(true)
	put(4, 400, 1)
	q.trim(0)
	crowded(false)
	q.close()
}

// TestQueueHold: what was not taken before is taken by nobody, and nothing gets in until release.
func TestQueueHold(t *testing.T) {
	q, p := newQueue(100), newPlace()
	q.setBatch(maxBatch)
	workers := staff(q, 2)
	mustPut(t, q, p.messages(0, 20))
	wantNumbers(t, "taken", take(q, workers[0], 1), 0) // and 1 … 9
	rest := series(1, 19)
	slices.Reverse(rest)
	wantNumbers(t, "given back", q.hold(), rest...)
	for range 2 {
		_, overflow, err := q.put(p.messages(20, 3))
		if err != errQueueHeld || len(overflow) != 3 || q.waiting() != 0 {
			t.Errorf("put into a held queue: %d left, %v; %d wait", len(overflow), err, q.waiting())
		}
		wantNumbers(t, "given back again", q.hold())
	}
	q.release()
	mustPut(t, q, p.messages(20, 2))
	wantNumbers(t, "taken", take(q, workers[0], 2), 20, 21)
	q.hold()
	q.close()
	if _, overflow, err := q.put(p.messages(22, 3)); err != errQueueClosed || len(overflow) != 3 {
		t.Errorf("put into a held queue that is closed: %d left, %v", len(overflow), err)
	}
}

// TestQueueDropsTheDead: from the head always, from everywhere when room is needed; the living keep their order.
func TestQueueDropsTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, p, gone := newQueue(8), newPlace(), newPlace()
		mustPut(t, q, gone.messages(0, 2))
		mustPut(t, q, p.messages(2, 1))
		mustPut(t, q, gone.messages(3, 2))
		gone.leave(handler.ErrConnLost)
		wantNumbers(t, "dead at the head", mustPut(t, q, p.messages(5, 2)), 0, 1)
		wantNumbers(t, "dead, with room", mustPut(t, q, p.messages(7, 3)))
		wantNumbers(t, "dead, without", mustPut(t, q, p.messages(10, 1)), 3, 4)
		time.Sleep(time.Minute)
		wantNumbers(t, "dead in the end", mustPut(t, q, p.messages(11, 2)), 2, 5, 6, 7, 8, 9, 10)
		time.Sleep(30 * time.Second)
		mustPut(t, q, p.messages(13, 1))
		wantNumbers(t, "not yet dead", q.dropDead())
		time.Sleep(30 * time.Second)
		wantNumbers(t, "dead when asked", q.dropDead(), 11, 12)
		wantNumbers(t, "rest", q.close(), 13)
	})
}

// wakes counts how often a worker has woken: Wait locks again then.
type wakes struct {
	sync.Locker
	n atomic.Int64
}

func (w *wakes) Lock() {
	w.n.Add(1)
	w.Locker.Lock()
}

// TestQueueWakes: a message wakes one worker, a backlog wakes all that are needed, whoever comes and goes meanwhile.
func TestQueueWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, p := newQueue(100), newPlace()
		woken := &wakes{Locker: &q.mu}
		var took atomic.Int64
		hold := make(chan struct{})
		var workers sync.WaitGroup
		for _, worker := range staff(q, 8) {
			worker.wake.L = woken
			workers.Go(func() {
				for q.take(worker) != nil {
					took.Add(1)
					<-hold
				}
			})
		}
		synctest.Wait()
		for i, n := range []int{1, 1, 3, 2, 1, 5} {
			mustPut(t, q, p.messages(0, n))
			synctest.Wait()
			if got, want := took.Load(), []int64{1, 2, 5, 7, 8, 8}[i]; got != want || woken.n.Load() != want {
				t.Errorf("%d taken, %d woken, want %d", got, woken.n.Load(), want)
			}
		}
		close(hold)
		synctest.Wait()
		if took.Load() != 13 || q.waiting() != 0 || q.idle() != 8 {
			t.Errorf("%d taken, %d left, %d idle", took.Load(), q.waiting(), q.idle())
		}
		q.close()
		workers.Wait()
	})
}

// TestQueueClose: what was put is either in the rest, or with a worker where everybody can see it.
func TestQueueClose(t *testing.T) {
	const workers, takes, messages = 2, 6, 40
	for round := range 2000 {
		q, p := newQueue(messages), newPlace()
		q.setBatch(1 + round%maxBatch)
		pockets := staff(q, workers)
		msgs := p.messages(0, messages)
		mustPut(t, q, msgs)
		var running, ready sync.WaitGroup
		ready.Add(workers + 1)
		for _, worker := range pockets {
			running.Go(func() {
				for i := range takes {
					m := q.take(worker)
					if m == nil {
						return
					}
					if i == 0 { // the others are in its pocket
						ready.Done()
						ready.Wait()
					}
					m.Claim() // settled; current is still m
				}
			})
		}
		ready.Done()
		ready.Wait()
		found := make(map[*handler.Delivery]string)
		for _, m := range q.close() {
			found[m] = "rest"
		}
		for _, worker := range pockets {
			if m := q.current(worker); m != nil {
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

// TestQueueUnderLoad: every message is taken once, and no worker sleeps while there is work.
func TestQueueUnderLoad(t *testing.T) {
	const producers, workers, batches, batch = 3, 4, 2000, 5
	for _, most := range []int{1, maxBatch} {
		q, p := newQueue(producers*batches*batch), newPlace()
		q.setBatch(most)
		var counts [producers * batches]atomic.Int64
		var running, producing, handling sync.WaitGroup
		handling.Add(producers * batches * batch)
		for _, worker := range staff(q, workers) {
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
						msgs[k].Init(&handler.Read{Source: p}, handler.ID{}, uint16(i*batches+j), 0, nil)
					}
					if _, _, err := q.put(msgs); err != nil {
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
