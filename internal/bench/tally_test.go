package main

import (
	"sync"
	"sync/atomic"
	"testing"
)

// TestTally: for any number of messages, each is new once, and only the last completes the tally.
func TestTally(t *testing.T) {
	for _, n := range []int{1, 2, 63, 64, 65, 1000, 4096} {
		tally := newTally(n)
		for seq := range uint64(n) {
			first, last := tally.add(seq)
			if want := seq == uint64(n-1); !first || last != want {
				t.Errorf("%d of %d: first %t, last %t; want true, %t", seq, n, first, last, want)
			}
			if first, last := tally.add(seq); first || last {
				t.Errorf("%d of %d again: first %t, last %t; want false", seq, n, first, last)
			}
		}
		if got := tally.count(); got != n {
			t.Errorf("counts %d of %d", got, n)
		}
		for _, seq := range []uint64{uint64(n), 1 << 40, 1<<64 - 1} {
			if first, last := tally.add(seq); first || last {
				t.Errorf("%d, of %d: first %t, last %t; want false", seq, n, first, last)
			}
		}
	}
}

func TestTallyConcurrent(t *testing.T) {
	const n = 100_000
	tally := newTally(n)
	var firsts, lasts atomic.Int64
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for seq := range uint64(n) {
				first, last := tally.add(seq)
				if first {
					firsts.Add(1)
				}
				if last {
					lasts.Add(1)
				}
			}
		})
	}
	workers.Wait()
	if firsts.Load() != n || lasts.Load() != 1 {
		t.Errorf("%d were new, %d were the last; want %d, 1", firsts.Load(), lasts.Load(), n)
	}
}
