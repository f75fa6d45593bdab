package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
)

// runBare is as little as a client can do: one goroutine, a reused buffer, as much in one read as there is,
// and one write for all that a read brought. No heartbeats, no errors, no concurrency.
func runBare(ctx context.Context, j job, handle func(body []byte)) error {
	conn, err := net.Dial("tcp", j.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The sender answers IDENTIFY and SUB one by one, so nothing is lost by not waiting.
	const identify = `{"client_id":"bare","feature_negotiation":true}`
	hello := binary.BigEndian.AppendUint32([]byte("  V2IDENTIFY\n"), uint32(len(identify)))
	hello = fmt.Appendf(hello, "%sSUB t c\nRDY %d\n", identify, j.MaxInFlight)
	if _, err := conn.Write(hello); err != nil {
		return err
	}

	in := make([]byte, max(64<<10, 2*(bodyOffset+j.Size)))
	var out []byte
	have := 0
	for ctx.Err() == nil {
		n, err := conn.Read(in[have:])
		if err != nil {
			return err
		}
		have += n
		rest := in[:have]
		for len(rest) >= sizeLength {
			size := sizeLength + int(binary.BigEndian.Uint32(rest))
			if len(rest) < size {
				break
			}
			if frame := rest[:size]; binary.BigEndian.Uint32(frame[sizeLength:]) == typeMessage {
				handle(frame[bodyOffset:])
				out = append(out, "FIN "...)
				out = append(out, frame[idOffset:bodyOffset]...)
				out = append(out, '\n')
			}
			rest = rest[size:]
		}
		have = copy(in, rest)
		if len(out) == 0 {
			continue
		}
		if _, err := conn.Write(out); err != nil {
			return err
		}
		out = out[:0]
	}
	return nil
}
