package wire_test

import (
	"bytes"
	"math"
	"reflect"
	"testing"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/wire"
)

func FuzzNextFrame(f *testing.F) {
	message := encodeFrame(wire.FrameMessage, encodeMessage(5, 1, id1, "body"))
	for _, seed := range [][]byte{
		nil, header(0xffffffff, 2), header(0x7fffffff, 2), header(3, 0), header(4, 0), header(4, 1), header(4, 3), header(65541, 0), message, message[:20],
		append(encodeFrame(wire.FrameResponse, []byte("_heartbeat_")), message...),
		[]byte("HTTP/1.1 400 Bad Request\r\n"), []byte("\x15\x03\x01\x00\x02\x02\x46"), []byte("SSH-2.0-x\r\n"), []byte("\x00\x00\x00\x0eE_BAD_PROTOCOL"),
	} {
		f.Add(seed, 1<<20)
	}
	f.Add(message, 3)
	f.Add(message, -100)
	f.Add(message, math.MaxInt)
	f.Add([]byte("\x7f\xff\xff\xff\x00\x00\x00\x02"), math.MinInt)

	f.Fuzz(func(t *testing.T, stream []byte, max int) {
		limit := 1<<20 + uint64(64*len(stream))
		if grown := check.Allocated(limit, func() { readAll(stream, max) }); grown > limit {
			t.Fatalf("%d bytes allocated for %d of input", grown, len(stream))
		}
		var encoded []byte
		rest := stream
		for {
			typ, data, n, _, err := wire.NextFrame(rest, max)
			checkPrefixes(t, rest, max, n, err)
			if n == 0 {
				break
			}
			limit := wire.MaxResponse
			if typ == wire.FrameMessage {
				limit = min(max, math.MaxInt32-26) + 26 // fits an int on every platform
			} else if typ != wire.FrameResponse && typ != wire.FrameError {
				t.Fatalf("type %d accepted", typ)
			}
			if len(data) > limit {
				t.Fatalf("%d bytes of data accepted, type %d, max %d", len(data), typ, max)
			}
			if cap(data) != len(data) || len(data) > 0 && &data[0] != &rest[8] {
				t.Fatal("data is not a part of the buffer, or has capacity beyond its end")
			}
			encoded = append(encoded, encodeFrame(typ, data)...)
			rest = rest[n:]
		}
		if !bytes.Equal(encoded, stream[:len(stream)-len(rest)]) {
			t.Fatalf("frames of %q encode to %q", stream, encoded)
		}
	})
}

// readAll reads the frames of a stream.
func readAll(stream []byte, max int) {
	for {
		_, _, n, _, _ := wire.NextFrame(stream, max)
		if n == 0 {
			return
		}
		stream = stream[n:]
	}
}

// checkPrefixes passes each prefix of buf to NextFrame. It fails unless the result is that of one
// call with all of buf (a frame of n bytes, err, or incomplete), and every need on the way is
// consistent.
func checkPrefixes(t *testing.T, buf []byte, max, n int, err error) {
	t.Helper()
	last := 0
	for k := range len(buf) + 1 {
		_, _, got, need, gotErr := wire.NextFrame(buf[:k], max)
		if got > 0 || gotErr != nil {
			if got != n || !reflect.DeepEqual(gotErr, err) {
				t.Fatalf("after %d bytes: n %d, error %v; with all of them: n %d, error %v", k, got, gotErr, n, err)
			}
			if got > 0 && (got != k || got != last) {
				t.Fatalf("frame of %d bytes found after %d, %d were needed", got, k, last)
			}
			if gotErr != nil && k != 4 && k != 8 {
				t.Fatalf("error %v after %d bytes: not as early as it could be", gotErr, k)
			}
			return
		}
		if need <= k || need < last || k >= 4 && last > 4 && need != last {
			t.Fatalf("after %d bytes: %d needed, %d before", k, need, last)
		}
		last = need
	}
	if n != 0 || err != nil {
		t.Fatalf("incomplete byte by byte, but n %d, error %v at once", n, err)
	}
}
