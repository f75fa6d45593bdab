package envelope_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nsqx/nsqx/envelope"
)

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// example is the envelope with traceparent alone, as every implementation must write it: 76 bytes.
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

// raw encodes an envelope without checks. It shares no code with the package.
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

// list formats headers in one line.
func list(headers iter.Seq2[string, string]) string {
	var all []string
	for key, value := range headers {
		all = append(all, fmt.Sprintf("%s=%s", key, value))
	}
	return strings.Join(all, " ")
}

// writer returns a Writer with headers; pairs are keys and values in turn.
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

// split returns the headers, in one line, and the payload of a valid body.
func split(t testing.TB, body []byte) (headers, payload string) {
	t.Helper()
	h, rest, err := envelope.Split(body)
	if err != nil {
		t.Fatalf("Split(%.200q): %v", body, err)
	}
	return list(h.All()), string(rest)
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

// judge reads a body as the format is documented, one byte at a time.
func judge(body string) (payload string, kind error) {
	if len(body) < 7 || body[:4] != "\xC1\xCE\xD3\xD1" || body[4]>>4 != 1 {
		return body, nil
	}
	if body[4] > 0x11 {
		return body, envelope.ErrVersion
	}
	number := func(s string) (int, bool) {
		return int(s[0]-128)*128 + int(s[1]-128), s[0] >= 128 && s[1] >= 128
	}
	n, ok := number(body[5:7])
	if body[4] < 0x11 || !ok || n > len(body)-7 {
		return body, envelope.ErrMalformed
	}
	rest := body[7 : 7+n]
	for count := 0; rest != ""; count++ {
		k := int(rest[0]) - 128
		if k < 1 || 1+k+2 > len(rest) || count >= 64 {
			return body, envelope.ErrMalformed
		}
		v, ok := number(rest[1+k:])
		if !ok || 1+k+2+v > len(rest) {
			return body, envelope.ErrMalformed
		}
		key, value := rest[1:1+k], rest[1+k+2:][:v]
		if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) || !utf8.ValidString(value) ||
			strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7F }) {
			return body, envelope.ErrMalformed
		}
		if key[0] == '!' {
			kind = envelope.ErrUnsupported
		}
		rest = rest[1+k+2+v:]
	}
	return body[7+n:], kind
}
