package envelope_test

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/nsqx/nsqx/envelope"
)

// Split checks each byte at each position of a text of each length, although it checks eight at a
// time.
func TestSplitChecksEachByte(t *testing.T) {
	for n := 1; n <= 40; n++ {
		for at := range n {
			for c := range 256 {
				text := bytes.Repeat([]byte("m"), n)
				text[at] = byte(c)
				_, _, err := envelope.Split(raw("", string(text), "v"))
				if bad := c <= ' ' || c >= 0x7F; (err == nil || errors.Is(err, envelope.ErrUnsupported)) == bad {
					t.Fatalf("key %q: got %v", text, err)
				}
				_, _, err = envelope.Split(raw("", "k", string(text)))
				if bad := c < ' ' || c == 0x7F || !utf8.Valid(text); (err == nil) == bad {
					t.Fatalf("value %q: got %v", text, err)
				}
			}
		}
	}
}
