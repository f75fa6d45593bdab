package main

import (
	"math/bits"
	"sync/atomic"
)

// tally records which messages were seen, and when all were. It is safe for concurrent use and
// avoids shared cache lines: neighbours in the sequence lie far apart, and there is no counter of
// messages.
type tally struct {
	n     int
	words []uint64 // a bit for each message
	mask  uint64   // the number of bits, a power of two, less 1
	open  atomic.Int64
}

// newTally is for messages 0 to n-1; n is at least 1.
func newTally(n int) *tally {
	size := max(64, uint64(1)<<bits.Len(uint(n-1)))
	t := &tally{n: n, words: make([]uint64, size/64), mask: size - 1}
	t.open.Store(int64(len(t.words)))
	for seq := uint64(n); seq < size; seq++ {
		t.add(seq) // no such message: mark as seen
	}
	return t
}

// count returns how many have been seen.
func (t *tally) count() int {
	n := t.n - int(t.mask+1) // without the messages that do not exist
	for i := range t.words {
		n += bits.OnesCount64(atomic.LoadUint64(&t.words[i]))
	}
	return n
}

// add reports whether seq is new, and whether all messages have been seen with it. A seq out of
// range is not new.
func (t *tally) add(seq uint64) (first, last bool) {
	if seq > t.mask {
		return false, false
	}
	place := seq * scatter & t.mask // scatter is odd, so places are unique
	bit := uint64(1) << (place % 64)
	old := atomic.OrUint64(&t.words[place/64], bit)
	if old&bit != 0 {
		return false, false
	}
	return true, old|bit == 1<<64-1 && t.open.Add(-1) == 0
}
