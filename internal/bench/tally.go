package main

import (
	"math/bits"
	"sync/atomic"
)

// tally knows which of a number of messages were seen, and when all of them were. It is for many goroutines at once
// and keeps them off each other's cache lines: neighbours in the sequence lie far apart in it, and nothing is
// counted message by message.
type tally struct {
	n     int
	words []uint64 // a bit for each message
	mask  uint64   // the number of bits, a power of two, less 1
	open  atomic.Int64
}

// newTally is for messages 0 to n-1, of which there is at least one.
func newTally(n int) *tally {
	size := max(64, uint64(1)<<bits.Len(uint(n-1)))
	t := &tally{n: n, words: make([]uint64, size/64), mask: size - 1}
	t.open.Store(int64(len(t.words)))
	for seq := uint64(n); seq < size; seq++ {
		t.add(seq) // there is no such message: done with
	}
	return t
}

// count is how many have been seen.
func (t *tally) count() int {
	n := t.n - int(t.mask+1) // those that there are not
	for i := range t.words {
		n += bits.OnesCount64(atomic.LoadUint64(&t.words[i]))
	}
	return n
}

// add says whether seq is seen for the first time, and whether with it all are seen.
// A seq beyond those of the tally is taken for one that was seen before.
func (t *tally) add(seq uint64) (first, last bool) {
	if seq > t.mask {
		return false, false
	}
	place := seq * scatter & t.mask // scatter is odd: no two have the same place
	bit := uint64(1) << (place % 64)
	old := atomic.OrUint64(&t.words[place/64], bit)
	if old&bit != 0 {
		return false, false
	}
	return true, old|bit == 1<<64-1 && t.open.Add(-1) == 0
}
