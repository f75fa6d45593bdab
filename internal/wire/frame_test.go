// Tests of frame.go and errors.go. The prefix of a subtest, such as M3, is its number in the
// catalogue of malformed input; see docs/reliability.md.

package wire_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

func TestMalformedSize(t *testing.T) {
	response := 4 + wire.MaxResponse
	for _, tc := range []struct {
		name   string
		buf    []byte
		max    int
		want   wire.FrameSizeError
		failAt int // bytes seen when the size is rejected
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

// M2: after these prefixes a caller knows that EOF is unexpected.
func TestIncompleteFrame(t *testing.T) {
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
				equal(t, "frame of known size", next(buf[:k], tc.max), frame{Need: len(buf)})
			}
			equal(t, "frame before another", next(append(buf, buf...), tc.max), want)
		})
	}
}

// M19
func TestSegmentation(t *testing.T) {
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
