package wire_test

import (
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

const id1 = "0123456789abcdef"

// encodeFrame is written from the protocol's description, not from the package.
func encodeFrame(typ wire.FrameType, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(data)))
	b = binary.BigEndian.AppendUint32(b, uint32(typ))
	return append(b, data...)
}

func encodeMessage(timestamp int64, attempts uint16, id, body string) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(timestamp))
	b = binary.BigEndian.AppendUint16(b, attempts)
	return append(b, id+body...)
}

// header is a frame's first 8 bytes, true or not.
func header(size uint32, typ int32) []byte {
	b := binary.BigEndian.AppendUint32(nil, size)
	return binary.BigEndian.AppendUint32(b, uint32(typ))
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}

// says fails unless err is a one-line text of ours that has every part.
func says(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	text := err.Error()
	if !strings.HasPrefix(text, "nsqx: ") || strings.Contains(text, "\n") {
		t.Errorf("error %q: want one line with the prefix nsqx", text)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("error %q: want %q in it", text, part)
		}
	}
}

// frame is what NextFrame says.
type frame struct {
	Type wire.FrameType
	Data string
	N    int
	Need int
	Err  error
}

func next(buf []byte, max int) frame {
	typ, data, n, need, err := wire.NextFrame(buf, max)
	return frame{typ, string(data), n, need, err}
}

// firstFailure is how many bytes of buf NextFrame has to see before it refuses them; MaxInt if it never does.
func firstFailure(buf []byte, max int) int {
	for k := range len(buf) + 1 {
		if next(buf[:k], max).Err != nil {
			return k
		}
	}
	return math.MaxInt
}
