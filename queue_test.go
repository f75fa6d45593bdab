package nsqx

import (
	"context"
	"errors"
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

func (p *place) Topic() string                { return "orders" }
func (p *place) Channel() string              { return "billing" }
func (p *place) NSQD() string                 { return "nsqd-1:4150" }
func (p *place) Context() context.Context     { return p.ctx }
func (p *place) Terms() *handler.Terms        { return &p.terms }
func (p *place) Touch(*handler.Message) error { return nil }

// messages makes n of them, numbered from first by their attempts.
func (p *place) messages(first, n int) []handler.Message {
	msgs := make([]handler.Message, n)
	for i := range msgs {
		msgs[i].Init(p, handler.ID{}, uint16(first+i), 0, nil, p.terms.Now(), nil)
	}
	return msgs
}

func numbers(msgs []*handler.Message) []int {
	var n []int
	for _, m := range msgs {
		n = append(n, int(m.Attempts))
	}
	return n
}

func mustPut(t *testing.T, q *queue, msgs []handler.Message) (dead []*handler.Message) {
	t.Helper()
	dead, err := q.put(msgs)
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	return dead
}

// TestQueueOrder, through growth and wrapping round.
func TestQueueOrder(t *testing.T) {
	q, p := newQueue(1000), newPlace()
	var current atomic.Pointer[handler.Message]
	in, out := 0, 0
	for _, n := range []int{1, 40, 63, 2, 100, 32, 300, 7} {
		mustPut(t, q, p.messages(in, n))
		in += n
		for range n/2 + 1 {
			m := q.take(&current)
			if int(m.Attempts) != out || current.Load() != m {
				t.Fatalf("took %d, want %d", m.Attempts, out)
			}
			out++
		}
	}
	rest := q.close()
	if q.len() != 0 || len(rest) != in-out {
		t.Fatalf("%d left, want %d", len(rest), in-out)
	}
	for i, n := range numbers(rest) {
		if n != out+i {
			t.Errorf("message %d of the rest is %d", i, n)
		}
	}
}

func TestQueueLimit(t *testing.T) {
	q, p := newQueue(5), newPlace()
	mustPut(t, q, p.messages(0, 3))
	if _, err := q.put(p.messages(3, 3)); !errors.Is(err, errFlood) || q.len() != 3 {
		t.Errorf("put: %v; %d are there", err, q.len())
	}
	mustPut(t, q, p.messages(3, 2))
	if _, err := q.put(p.messages(5, 1)); !errors.Is(err, errFlood) || q.len() != 5 {
		t.Errorf("put: %v; %d are there", err, q.len())
	}
	q.close()
	if _, err := q.put(p.messages(5, 1)); err != errQueueClosed {
		t.Errorf("put: %v", err)
	}
	if rest := q.close(); len(rest) != 0 {
		t.Errorf("%d messages in a closed queue", len(rest))
	}
	if m := q.take(new(atomic.Pointer[handler.Message])); m != nil {
		t.Errorf("took %v from a closed queue", m)
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
		want := func(what string, got []*handler.Message, want ...int) {
			t.Helper()
			n := numbers(got)
			if len(n) != len(want) {
				t.Fatalf("%s: %v, want %v", what, n, want)
			}
			for i := range n {
				if n[i] != want[i] {
					t.Fatalf("%s: %v, want %v", what, n, want)
				}
			}
		}
		want("dead at the head", mustPut(t, q, p.messages(5, 2)), 0, 1)
		want("dead, with room", mustPut(t, q, p.messages(7, 3)))
		want("dead, without", mustPut(t, q, p.messages(10, 1)), 3, 4)
		time.Sleep(time.Minute)
		want("dead in the end", mustPut(t, q, p.messages(11, 2)), 2, 5, 6, 7, 8, 9, 10)
		want("rest", q.close(), 11, 12)
	})
}

// TestQueueWakes: a message wakes one worker, a backlog wakes all that are needed, whoever comes and goes meanwhile.
func TestQueueWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, p := newQueue(100), newPlace()
		var took atomic.Int64
		hold := make(chan struct{})
		var workers sync.WaitGroup
		for range 8 {
			workers.Go(func() {
				var current atomic.Pointer[handler.Message]
				for q.take(&current) != nil {
					took.Add(1)
					<-hold
				}
			})
		}
		synctest.Wait()
		for i, n := range []int{1, 1, 3, 2, 1, 5} {
			mustPut(t, q, p.messages(0, n))
			synctest.Wait()
			if got, want := took.Load(), []int64{1, 2, 5, 7, 8, 8}[i]; got != want {
				t.Errorf("%d taken, want %d", got, want)
			}
		}
		close(hold)
		synctest.Wait()
		if took.Load() != 13 || q.len() != 0 || q.idle != 8 {
			t.Errorf("%d taken, %d left, %d idle", took.Load(), q.len(), q.idle)
		}
		q.close()
		workers.Wait()
	})
}

// TestQueueClose: what was put is either in the rest, or with a worker where everybody can see it.
func TestQueueClose(t *testing.T) {
	const workers = 4
	for range 2000 {
		q, p := newQueue(100), newPlace()
		var current [workers]atomic.Pointer[handler.Message]
		var handled atomic.Int64
		var running sync.WaitGroup
		for i := range workers {
			running.Go(func() {
				if q.take(&current[i]) != nil {
					handled.Add(1)
				}
			})
		}
		mustPut(t, q, p.messages(0, workers-1))
		found := len(q.close())
		for i := range current {
			if current[i].Load() != nil {
				found++
			}
		}
		if found != workers-1 {
			t.Fatalf("%d of %d messages found when the queue was closed", found, workers-1)
		}
		running.Wait()
		if handled.Load() > workers-1 {
			t.Fatalf("%d handled", handled.Load())
		}
	}
}

// TestQueueUnderLoad: every message is taken once, and no worker sleeps while there is work.
func TestQueueUnderLoad(t *testing.T) {
	const producers, workers, batches, batch = 3, 4, 2000, 5
	q, p := newQueue(producers*batches*batch), newPlace()
	var counts [producers * batches]atomic.Int64
	var running, producing sync.WaitGroup
	for range workers {
		running.Go(func() {
			var current atomic.Pointer[handler.Message]
			for {
				m := q.take(&current)
				if m == nil {
					return
				}
				counts[m.Attempts].Add(1)
			}
		})
	}
	for i := range producers {
		producing.Go(func() {
			for j := range batches {
				msgs := make([]handler.Message, batch)
				for k := range msgs {
					msgs[k].Init(p, handler.ID{}, uint16(i*batches+j), 0, nil, 0, nil)
				}
				if _, err := q.put(msgs); err != nil {
					t.Errorf("put: %v", err)
				}
			}
		})
	}
	producing.Wait()
	for q.len() > 0 {
		time.Sleep(time.Millisecond)
	}
	q.close()
	running.Wait()
	for i := range counts {
		if n := counts[i].Load(); n != batch {
			t.Fatalf("batch %d: %d messages taken", i, n)
		}
	}
}
