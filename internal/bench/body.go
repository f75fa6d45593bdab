package main

import (
	"encoding/binary"
	"time"
)

// The body of a message that goes through a real nsqd begins with its number and the instant at which it was
// published (ns since 1970; processes of one machine share that clock).
const minBody = 8 + 8

func putBody(body []byte, seq uint64, published time.Time) {
	binary.BigEndian.PutUint64(body, seq)
	binary.BigEndian.PutUint64(body[8:], uint64(published.UnixNano()))
}

func bodySeq(body []byte) uint64 { return binary.BigEndian.Uint64(body) }

func bodyTime(body []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(body[8:])))
}
