package wire_test

import (
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

// The rows are those of the catalogue of malformed input, by number.

const maxTest = 1 << 20 // the largest message body in these tests

const largest = 4 + 26 + maxTest // the largest size of a frame with it

func TestMalformedSize(t *testing.T) {
	response := 4 + wire.MaxResponse
	for _, tc := range []struct {
		name   string
		buf    []byte
		max    int
		want   wire.FrameSizeError
		failAt int // bytes seen when the size is refused
	}{
		{"M3 size ffffffff", header(0xffffffff, 2), maxTest, wire.FrameSizeError{Size: 0xffffffff, Max: largest}, 4},
		{"M3 size 80000000", header(0x80000000, 2), maxTest, wire.FrameSizeError{Size: 0x80000000, Max: largest}, 4},
		{"M3 size 7fffffff", header(0x7fffffff, 0), maxTest, wire.FrameSizeError{Size: 0x7fffffff, Max: largest}, 4},
		{"M3 size 3fffffff", header(0x3fffffff, 1), maxTest, wire.FrameSizeError{Size: 0x3fffffff, Max: largest}, 4},
		{"M3 size ffffffff, boundless max", header(0xffffffff, 2), math.MaxInt, wire.FrameSizeError{Size: 0xffffffff, Max: math.MaxInt32 - 4}, 4},
		{"M3 size 7fffffff, boundless max", header(0x7fffffff, 2), math.MaxInt, wire.FrameSizeError{Size: 0x7fffffff, Max: math.MaxInt32 - 4}, 4},
		{"M4 size 0", header(0, 0), maxTest, wire.FrameSizeError{Size: 0, Max: largest}, 4},
		{"M4 size 1", header(1, 0), maxTest, wire.FrameSizeError{Size: 1, Max: largest}, 4},
		{"M4 size 2", header(2, 1), maxTest, wire.FrameSizeError{Size: 2, Max: largest}, 4},
		{"M4 size 3", header(3, 2), maxTest, wire.FrameSizeError{Size: 3, Max: largest}, 4},
		{"M4 size 3 and more bytes", append(header(3, 2), make([]byte, 100)...), maxTest, wire.FrameSizeError{Size: 3, Max: largest}, 4},
		{"M10 message above its cap", header(largest+1, 2), maxTest, wire.FrameSizeError{Size: largest + 1, Max: largest}, 4},
		{"M10 response above its cap", header(uint32(response)+1, 0), maxTest, wire.FrameSizeError{Size: uint32(response) + 1, Max: response}, 8},
		{"M10 error above its cap", header(uint32(response)+1, 1), maxTest, wire.FrameSizeError{Size: uint32(response) + 1, Max: response}, 8},
		{"M10 small messages only", header(4+26+11, 2), 10, wire.FrameSizeError{Size: 4 + 26 + 11, Max: 4 + 26 + 10}, 8},
		{"M10 small messages only, above every cap", header(uint32(response)+1, 2), 10, wire.FrameSizeError{Size: uint32(response) + 1, Max: response}, 4},
		{"no message fits a negative max", header(4+26, 2), -1, wire.FrameSizeError{Size: 4 + 26, Max: 4 + 25}, 8},
		{"size and type wrong", header(largest+1, 7), maxTest, wire.FrameSizeError{Size: largest + 1, Max: largest}, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := next(tc.buf, tc.max)
			equal(t, "frame", got, frame{Err: &tc.want})
			equal(t, "bytes until refused", firstFailure(tc.buf, tc.max), tc.failAt)
			says(t, got.Err, "frame size", "nsqd")
		})
	}
}

func TestMalformedType(t *testing.T) {
	for _, tc := range []struct {
		name string
		typ  int32
		says string
	}{
		{"M7 type 3", 3, "frame type 3 is none of"},
		{"M7 type -1", -1, "frame type -1 is none of"},
		{"M7 type 7fffffff", math.MaxInt32, "frame type 2147483647 is none of"},
		{"M7 type 80000000", math.MinInt32, "frame type -2147483648 is none of"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			buf := append(header(100, tc.typ), make([]byte, 96)...)
			got := next(buf, maxTest)
			equal(t, "frame", got, frame{Err: &wire.FrameTypeError{Type: wire.FrameType(tc.typ)}})
			equal(t, "bytes until refused", firstFailure(buf, maxTest), 8)
			says(t, got.Err, tc.says, "the peer is not nsqd")
		})
	}
}

func TestIncompleteFrame(t *testing.T) { // M2: whoever meets EOF after these knows that it was unexpected
	whole := encodeFrame(wire.FrameResponse, []byte("OK"))
	for k, need := range []int{4, 4, 4, 4, 10, 10, 10, 10, 10, 10} {
		equal(t, "M2 need", next(whole[:k], maxTest), frame{Need: need})
	}
	equal(t, "whole", next(whole, maxTest), frame{Data: "OK", N: 10})
}

func TestAcceptedFrames(t *testing.T) {
	for _, tc := range []struct {
		name string
		typ  wire.FrameType
		data string
		max  int
	}{
		{"M5 empty response", wire.FrameResponse, "", maxTest},
		{"M6 empty error", wire.FrameError, "", maxTest},
		{"M8 empty message", wire.FrameMessage, "", maxTest},
		{"M9 message with empty body", wire.FrameMessage, strings.Repeat("x", 26), 0},
		{"M10 response at its cap", wire.FrameResponse, strings.Repeat("x", wire.MaxResponse), 0},
		{"M10 error at its cap", wire.FrameError, strings.Repeat("x", wire.MaxResponse), 0},
		{"M10 message at its cap", wire.FrameMessage, strings.Repeat("x", 26+maxTest), maxTest},
		{"M10 small message at its cap", wire.FrameMessage, strings.Repeat("x", 26+10), 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			buf := encodeFrame(tc.typ, []byte(tc.data))
			want := frame{Type: tc.typ, Data: tc.data, N: 8 + len(tc.data)}
			equal(t, "frame", next(buf, tc.max), want)
			for k := 4; k < 8; k++ {
				equal(t, "frame of which the size is there", next(buf[:k], tc.max), frame{Need: len(buf)})
			}
			equal(t, "frame before another", next(append(buf, buf...), tc.max), want)
		})
	}
}

func TestMalformedMessage(t *testing.T) {
	for n := range 26 {
		data := encodeMessage(1, 1, id1, "")[:n]
		_, _, _, _, err := wire.DecodeMessage(data)
		equal(t, "M8 error", err, error(&wire.ShortMessageError{Len: n}))
		says(t, err, "shorter than its header of 26")
	}
	for _, id := range []string{
		"0123456789abcdeg", "g123456789abcdef", "0123456 89abcdef", "0123456789abcde\n", "\n123456789abcdef", "a\nFIN 0123456789",
		"0123456789abcde\x00", "0123456789abcde/", "0123456789abcde:", "0123456789abcde@", "0123456789abcdeG", "0123456789abcde`",
		"0123456789abcde\xff", "\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f", "                ",
	} {
		ts, attempts, got, body, err := wire.DecodeMessage(encodeMessage(1, 1, id, "body"))
		equal(t, "M11 error", err, error(&wire.IDError{ID: [16]byte([]byte(id))}))
		if ts != 0 || attempts != 0 || got != (wire.ID{}) || body != nil {
			t.Errorf("M11 id %q: results beside an error: %d %d %q %q", id, ts, attempts, got, body)
		}
		says(t, err, "is not 16 hexadecimal characters")
	}
	for pair := range 1 << 16 { // no byte makes up for its neighbour
		id := []byte(id1)
		id[6], id[7] = byte(pair>>8), byte(pair)
		_, _, _, _, err := wire.DecodeMessage(encodeMessage(1, 1, string(id), ""))
		if _, notHex := hex.DecodeString(string(id)); (err == nil) != (notHex == nil) {
			t.Fatalf("M11 id %q: error %v", id, err)
		}
	}
	for i := range 16 { // every place counts, for every byte
		for c := range 256 {
			id := []byte(id1)
			id[i] = byte(c)
			_, _, _, _, err := wire.DecodeMessage(encodeMessage(1, 1, string(id), ""))
			if hex := strings.ContainsRune("0123456789abcdefABCDEF", rune(c)); (err == nil) != hex {
				t.Errorf("M11 byte %#x at %d: error %v, hexadecimal %t", c, i, err, hex)
			}
		}
	}
}

func TestDecodeMessage(t *testing.T) {
	for _, tc := range []struct {
		name      string
		timestamp int64
		attempts  uint16
		id, body  string
	}{
		{"M9 empty body", 1, 1, id1, ""},
		{"M12 timestamp 0, attempts 0", 0, 0, id1, "x"},
		{"M12 timestamp negative, attempts 65535", -1, 65535, id1, "x"},
		{"M12 timestamp min", math.MinInt64, 1, id1, "x"},
		{"M12 timestamp max", math.MaxInt64, 1, id1, "x"},
		{"upper case id", 1, 2, "0123456789ABCDEF", "body\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			timestamp, attempts, id, body, err := wire.DecodeMessage(encodeMessage(tc.timestamp, tc.attempts, tc.id, tc.body))
			equal(t, "error", err, nil)
			equal(t, "timestamp", timestamp, tc.timestamp)
			equal(t, "attempts", attempts, tc.attempts)
			equal(t, "id", string(id[:]), tc.id)
			equal(t, "body", string(body), tc.body)
		})
	}
}

func TestSegmentation(t *testing.T) { // M19
	want := []frame{
		{wire.FrameResponse, "OK", 10, 0, nil},
		{wire.FrameMessage, string(encodeMessage(5, 1, id1, "body")), 38, 0, nil},
		{wire.FrameResponse, "_heartbeat_", 19, 0, nil},
		{wire.FrameError, "E_INVALID bad", 21, 0, nil},
	}
	var stream []byte
	for _, f := range want {
		stream = append(stream, encodeFrame(f.Type, []byte(f.Data))...)
	}
	for segment := 1; segment <= len(stream); segment++ {
		var got []frame
		var buf []byte
		for rest := stream; len(rest) > 0; {
			k := min(segment, len(rest))
			buf, rest = append(buf, rest[:k]...), rest[k:]
			for f := next(buf, maxTest); f.N > 0; f = next(buf, maxTest) {
				got, buf = append(got, f), buf[f.N:]
			}
		}
		if len(buf) != 0 {
			t.Errorf("M19 segments of %d: %q left", segment, buf)
		}
		equal(t, "M19 frames", got, want)
	}
}

func TestForeignPeers(t *testing.T) {
	for _, tc := range []struct {
		name, bytes, says string
		failAt            int
	}{
		{"M21 HTTP", "HTTP/1.1 400 Bad Request\r\n", "this is an HTTP port; nsqd's TCP port is 4150 by default", 4},
		{"M21 TLS alert", "\x15\x03\x01\x00\x02\x02\x46", "the peer speaks TLS from the first byte", 4},
		{"M21 TLS handshake", "\x16\x03\x03\x00\x7a\x02\x00", "the peer speaks TLS from the first byte", 4},
		{"M21 SSH", "SSH-2.0-OpenSSH_9.6\r\n", "this is an SSH port", 4},
		{"M21 nsqlookupd", "\x00\x00\x00\x0eE_BAD_PROTOCOL", "this is the TCP port of nsqlookupd", 8},
		{"M21 SMTP", "220 mail.example.com ESMTP\r\n", "the peer is not nsqd", 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			says(t, next([]byte(tc.bytes), maxTest).Err, tc.says)
			equal(t, "bytes until refused", firstFailure([]byte(tc.bytes), maxTest), tc.failAt)
			var size *wire.FrameSizeError
			if errors.As(next([]byte(tc.bytes), maxTest).Err, &size) {
				equal(t, "has a hint", size.Hint != "", tc.name != "M21 SMTP")
			}
		})
	}
	says(t, wire.ParseError([]byte("E_BAD_PROTOCOL")), `"E_BAD_PROTOCOL"`, "nsqd's TCP port is 4150 by default")
}
