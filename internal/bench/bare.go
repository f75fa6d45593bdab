package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
)

var (
	heartbeat = responseFrame("_heartbeat_")
	nop       = []byte("NOP\n")
)

// runBare is a minimal client: for each connection one goroutine, a reused buffer, reads as large
// as possible, and one write for the answers to a read. It handles no errors and has no
// concurrency.
func runBare(ctx context.Context, j job, handle func(body []byte)) error {
	loops, loopCtx := errgroup.WithContext(ctx)
	for _, addr := range j.Addrs {
		loops.Go(func() error { return loopBare(loopCtx, j, addr, handle) })
	}
	return loops.Wait()
}

func loopBare(ctx context.Context, j job, addr string, handle func(body []byte)) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })()
	over, err := handshakeBare(conn, j)
	if err != nil {
		return err
	}

	in := make([]byte, max(64<<10, 2*(bodyOffset+j.Size)))
	var out []byte
	have := 0
	for ctx.Err() == nil {
		n, err := over.Read(in[have:])
		switch {
		case ctx.Err() != nil: // another connection received the last message
			return nil
		case err != nil:
			return err
		}
		have += n
		rest := in[:have]
		for len(rest) >= sizeLength {
			size := sizeLength + int(binary.BigEndian.Uint32(rest))
			if len(rest) < size {
				break
			}
			out = appendAnswer(out, rest[:size], handle)
			rest = rest[size:]
		}
		have = copy(in, rest)
		if len(out) == 0 {
			continue
		}
		if _, err := over.Write(out); err != nil {
			return err
		}
		out = out[:0]
	}
	return nil
}

// handshakeBare performs the handshake, SUB and RDY of one of the connections.
func handshakeBare(conn net.Conn, j job) (over stream, err error) {
	ask := `{"client_id":"bare","feature_negotiation":true}`
	if j.layered() {
		ask = fmt.Sprintf(`{"client_id":"bare","feature_negotiation":true,%q:true}`, map[string]string{
			layerTLS: "tls_v1", layerSnappy: "snappy", layerDeflate: "deflate"}[j.Layer])
	}
	hello := binary.BigEndian.AppendUint32([]byte("  V2IDENTIFY\n"), uint32(len(ask)))
	if _, err := conn.Write(append(hello, ask...)); err != nil {
		return over, err
	}
	if err := skipFrame(conn); err != nil {
		return over, err
	}
	if over, err = clientStream(conn, j.Layer); err != nil {
		return over, err
	}
	if j.layered() {
		if err := skipFrame(over); err != nil { // the layer's OK
			return over, err
		}
	}
	ready := max(1, j.MaxInFlight/len(j.Addrs)) // as much in flight over all connections as the others have
	_, err = fmt.Fprintf(over, "SUB %s %s\nRDY %d\n", j.Topic, channel, ready)
	return over, err
}

func skipFrame(r io.Reader) error {
	var size [sizeLength]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(size[:])))
	return err
}

func appendAnswer(out, frame []byte, handle func(body []byte)) []byte {
	switch {
	case binary.BigEndian.Uint32(frame[sizeLength:]) == typeMessage:
		handle(frame[bodyOffset:])
		out = append(out, "FIN "...)
		out = append(out, frame[idOffset:bodyOffset]...)
		return append(out, '\n')
	case string(frame) == string(heartbeat):
		return append(out, nop...)
	default:
		return out
	}
}
