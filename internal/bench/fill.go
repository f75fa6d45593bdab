package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// fillBytes is the approximate size of an MPUB; nsqd accepts 5 MiB by default.
const fillBytes = 512 << 10

// fill publishes the nth nsqd's messages of j to addr.
func fill(ctx context.Context, j job, addr string, nth int) error {
	f, err := dialFeed(ctx, addr)
	if err != nil {
		return err
	}
	defer f.close()
	batch := max(1, fillBytes/j.Size)
	var command []byte
	for first := nth; first < j.Messages; first += batch * j.NSQDs {
		command = appendMPUB(command[:0], j, first, min(first+batch*j.NSQDs, j.Messages))
		if err := f.send(command); err != nil {
			return err
		}
	}
	return f.settle()
}

// appendMPUB appends every j.NSQDs-th message from first to end, exclusive.
func appendMPUB(b []byte, j job, first, end int) []byte {
	count := (end - first + j.NSQDs - 1) / j.NSQDs
	b = fmt.Appendf(b, "MPUB %s\n", j.Topic)
	b = binary.BigEndian.AppendUint32(b, uint32(4+count*(4+j.Size)))
	b = binary.BigEndian.AppendUint32(b, uint32(count))
	now := time.Now()
	for seq := first; seq < end; seq += j.NSQDs {
		b = binary.BigEndian.AppendUint32(b, uint32(j.Size))
		body := len(b)
		b = append(b, make([]byte, j.Size)...)
		putBody(b[body:], uint64(seq), now)
	}
	return b
}
