package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

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
		equal(t, "M11 error", err, error(&wire.IDError{At: strings.IndexFunc(id, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", r) })}))
		if strings.Contains(err.Error(), id[4:8]) {
			t.Errorf("M11 the error has bytes of the id: %v", err)
		}
		if ts != 0 || attempts != 0 || got != (wire.ID{}) || body != nil {
			t.Errorf("M11 id %q: results with an error: %d %d %q %q", id, ts, attempts, got, body)
		}
		says(t, err, "is not 16 hexadecimal characters")
	}
	for pair := range 1 << 16 { // no byte hides the error of its neighbour
		id := []byte(id1)
		id[6], id[7] = byte(pair>>8), byte(pair)
		_, _, _, _, err := wire.DecodeMessage(encodeMessage(1, 1, string(id), ""))
		if _, notHex := hex.DecodeString(string(id)); (err == nil) != (notHex == nil) {
			t.Fatalf("M11 id %q: error %v", id, err)
		}
	}
	for i := range 16 { // every byte at every position
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

func FuzzDecodeMessage(f *testing.F) {
	f.Add(encodeMessage(5, 1, id1, "body"))
	f.Add(encodeMessage(-1, 0, "ABCDEF0123456789", ""))
	f.Add(encodeMessage(0, 65535, "0123456789abcde\n", "x"))
	f.Add(encodeMessage(0, 1, id1, "")[:25])
	f.Fuzz(func(t *testing.T, data []byte) {
		timestamp, attempts, id, body, err := wire.DecodeMessage(data)
		if len(data) < 26 {
			var short *wire.ShortMessageError
			if !errors.As(err, &short) || short.Len != len(data) {
				t.Fatalf("%d bytes: error %v", len(data), err)
			}
			return
		}
		if _, notHex := hex.DecodeString(string(data[10:26])); notHex != nil {
			var bad *wire.IDError
			if !errors.As(err, &bad) {
				t.Fatalf("id %q: error %v", data[10:26], err)
			}
			printable(t, err.Error())
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if again := encodeMessage(timestamp, attempts, string(id[:]), string(body)); !bytes.Equal(again, data) {
			t.Fatalf("%q encodes to %q", data, again)
		}
		if len(body) > 0 && &body[0] != &data[26] {
			t.Fatal("body was copied")
		}
	})
}
