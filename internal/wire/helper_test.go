package wire_test

import (
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nsqx/nsqx/internal/wire"
)

const id1 = "0123456789abcdef"

// encodeFrame follows the protocol's documentation and shares no code with the package.
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

// header returns the first 8 bytes of a frame, valid or not.
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

// says fails unless err is one line that starts with "nsqx: " and contains every part.
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

// frame is a result of NextFrame.
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

// firstFailure returns the length of the shortest prefix of buf that NextFrame rejects, or MaxInt.
func firstFailure(buf []byte, max int) int {
	for k := range len(buf) + 1 {
		if next(buf[:k], max).Err != nil {
			return k
		}
	}
	return math.MaxInt
}

const maxTest = 1 << 20 // largest message body in these tests

const largest = 4 + 26 + maxTest // largest size of a frame with maxTest

// printable fails unless text is safe in a log.
func printable(t *testing.T, text string) {
	t.Helper()
	if !strings.HasPrefix(text, "nsqx: ") || !utf8.ValidString(text) || len(text) > 4096 {
		t.Fatalf("error %q", text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Fatalf("error %q is not printable at %d", text, i)
	}
}
