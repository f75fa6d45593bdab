package pool

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nsqx/nsqx/handler"
)

// TestClose: a message is either returned by close, or the current one of a worker, or settled.
func TestClose(t *testing.T) {
	const takes, messages = 6, 40
	for range 2000 {
		q, src := newQueueOf(messages), newSource()
		workers := newWorkers(q, 2)
		msgs := src.messages(0, messages)
		mustPut(t, q, msgs)
		var running, ready sync.WaitGroup
		ready.Add(len(workers) + 1)
		for _, w := range workers {
			running.Go(func() {
				for i := range takes {
					m := next(q, w)
					if m == nil {
						return
					}
					if i == 0 {
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
		for _, w := range workers {
			if m := current(q, w); m != nil {
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
		var seen [producers * each]atomic.Int32
		var running sync.WaitGroup
		for _, w := range newWorkers(q, 4) {
			running.Go(func() {
				for m := next(q, w); m != nil; m = next(q, w) {
					seen[m.Attempts].Add(1)
				}
			})
		}
		for i := range producers {
			running.Go(func() {
				for j := 0; j < each; j += 6 {
					_, rest, _, _ := arrive(q, src.messages(i*each+j, 6))
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
	const producers, workers, reads, size = 3, 4, 2000, 5
	q, src := newQueueOf(producers*reads*size), newSource()
	var taken [producers * reads]atomic.Int64
	var running, producing, handling sync.WaitGroup
	handling.Add(producers * reads * size)
	for _, w := range newWorkers(q, workers) {
		running.Go(func() {
			for m := next(q, w); m != nil; m = next(q, w) {
				taken[m.Attempts].Add(1)
				handling.Done()
			}
		})
	}
	for i := range producers {
		producing.Go(func() {
			for j := range reads {
				msgs := make([]handler.Delivery, size)
				for k := range msgs {
					msgs[k].Init(&handler.Read{Source: src}, handler.ID{}, uint16(i*reads+j), 0, nil)
				}
				if _, _, _, err := arrive(q, msgs); err != nil {
					t.Errorf("put: %v", err)
				}
			}
		})
	}
	producing.Wait()
	handling.Wait()
	q.close()
	running.Wait()
	for i := range taken {
		if n := taken[i].Load(); n != size {
			t.Fatalf("read %d: %d messages taken", i, n)
		}
	}
}
