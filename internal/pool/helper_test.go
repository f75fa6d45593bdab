package pool

import (
	"context"
	"math"
	"slices"
	"testing"
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

// staff makes n workers, of whom there are only the batches.
func staff(q *queue, n int) []*batch {
	batches := make([]*batch, q.resize(n))
	for i := range batches {
		batches[i] = &batch{ack: func([]handler.Delivery) {}}
		q.join(batches[i])
	}
	return batches
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

// newQueueOf makes a queue with room for some messages of any size.
func newQueueOf(messages int) *queue {
	q := newQueue()
	q.capacity = capacity{messages, math.MaxInt}
	return q
}

func setCapacity(q *queue, messages, bytes int) {
	q.mu.Lock()
	q.capacity = capacity{messages, bytes}
	q.mu.Unlock()
}

// snapshot is that of a pool with the queue alone.
func snapshot(q *queue) Snapshot { return (&Pool{queue: q}).Snapshot() }

func waiting(q *queue) int         { return snapshot(q).Waiting }
func idle(q *queue) int            { return snapshot(q).Idle }
func spent(q *queue) time.Duration { return snapshot(q).BusyTime }
func isOver(q *queue) bool         { return snapshot(q).OverCapacity }

// tick reclaims all batches.
func tick(q *queue) { q.setBatchSize(q.batchSize) }

func current(q *queue, b *batch) *handler.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	return b.current()
}

func oldest(q *queue) *handler.Delivery { return snapshot(q).Oldest }
