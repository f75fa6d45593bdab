package main

import (
	"encoding/binary"
	"time"
)

// The body of a message through a real nsqd starts with its number and its time of publishing, in
// ns since 1970.
const minBody = 8 + 8

func putBody(body []byte, seq uint64, published time.Time) {
	binary.BigEndian.PutUint64(body, seq)
	binary.BigEndian.PutUint64(body[8:], uint64(published.UnixNano()))
}

func bodySeq(body []byte) uint64 { return binary.BigEndian.Uint64(body) }

func bodyTime(body []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(body[8:])))
}
