package envelope_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/envelope"
)

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// example is the envelope with traceparent alone, as any other writer must make it: 76 bytes.
const example = "c1ced3d1" + "11" + "80c5" + "8b" + "7472616365706172656e74" + "80b7" +
	"30302d30616637363531393136636434336464383434386562323131633830333139632d623761643662373136393230333333312d3031"

// golden returns the example with a payload.
func golden(payload string) []byte {
	b, err := hex.DecodeString(example)
	if err != nil {
		panic(err)
	}
	return append(b, payload...)
}

// raw encodes an envelope without a look at what is put in. It shares nothing with the package.
func raw(payload string, pairs ...string) []byte {
	var header strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		key, value := pairs[i], pairs[i+1]
		header.WriteByte(byte(128 + len(key)))
		header.WriteString(key)
		header.WriteString(twoBytes(len(value)))
		header.WriteString(value)
	}
	return fmt.Appendf(nil, "\xC1\xCE\xD3\xD1\x11%s%s%s", twoBytes(header.Len()), header.String(), payload)
}

func twoBytes(n int) string { return string([]byte{byte(128 + n/128), byte(128 + n%128)}) }

// list prints headers in one line.
func list(headers iter.Seq2[string, string]) string {
	var all []string
	for key, value := range headers {
		all = append(all, fmt.Sprintf("%s=%s", key, value))
	}
	return strings.Join(all, " ")
}

// writer returns a Writer with headers: keys and values in turn.
func writer(t testing.TB, pairs ...string) *envelope.Writer {
	t.Helper()
	w := new(envelope.Writer)
	for i := 0; i < len(pairs); i += 2 {
		if err := w.Set(pairs[i], pairs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// split returns the headers, in one line, and the payload of a body that must be good.
func split(t testing.TB, body []byte) (headers, payload string) {
	t.Helper()
	h, rest, err := envelope.Split(body)
	if err != nil {
		t.Fatalf("Split(%.200q): %v", body, err)
	}
	return list(h.All()), string(rest)
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func wantAllocs(t testing.TB, what string, most float64, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(200, f); got > most {
		t.Errorf("%s: %v allocations, want at most %v", what, got, most)
	}
}
