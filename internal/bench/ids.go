package main

import (
	"encoding/binary"
	"encoding/hex"
)

// A message's id is its sequence number, spread over all 16 characters as nsqd's ids are:
// multiplied by an odd number, which multiplication by the inverse undoes.
const (
	idLength = 16
	scatter  = 0x9e3779b97f4a7c15
	inverse  = 0xf1de83e19937733d
)

func putID(dst []byte, seq uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], (seq+1)*scatter)
	hex.Encode(dst, b[:])
}

// parseID is the inverse of putID. For any other id it returns an error or a huge number.
func parseID(id []byte) (seq uint64, err error) {
	var b [8]byte
	if len(id) != idLength {
		return 0, hex.ErrLength
	}
	if _, err := hex.Decode(b[:], id); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b[:])*inverse - 1, nil
}

// bitmap is a set of sequence numbers.
type bitmap []uint64

func newBitmap(n int) bitmap { return make(bitmap, (n+63)/64) }

// add reports whether i was not yet in the set.
func (b bitmap) add(i uint64) bool {
	word, bit := &b[i/64], uint64(1)<<(i%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
