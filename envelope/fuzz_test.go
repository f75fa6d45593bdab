package envelope_test

import (
	"bytes"
	"errors"
	"runtime/metrics"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nsqx/nsqx/envelope"
)

// allocated is the bytes that this process has ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// judge reads a body by the letter of the format, a byte at a time.
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

func FuzzSplit(f *testing.F) {
	for _, seed := range [][]byte{
		nil, []byte(`{"id":7}`), golden("payload"), golden(""), golden("")[:40], raw("x", "a", "1", "!b", "2", "A", "3"), raw(string(golden("x")), "a", "1"),
		[]byte("\xC1\xCE\xD3\xD1\x12\x80\x80"), []byte("\xC1\xCE\xD3\xD1\x11\xFF\xFF\xFF"), raw("\n", "a", "\n"), raw("", "city", "Zürich"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		rest, kind := judge(string(body))
		before := allocated()
		h, payload, err := envelope.Split(body)
		if grown := allocated() - before; grown > 64<<10 {
			t.Fatalf("%d bytes allocated for a body of %d", grown, len(body))
		}
		if !errors.Is(err, kind) || (err == nil) != (kind == nil) || string(payload) != rest {
			t.Fatalf("got payload %.100q, error %v; want %.100q, %v", payload, err, rest, kind)
		}
		w, payload, err := envelope.WriterOf(body)
		if (err == nil) != (kind == nil || kind == envelope.ErrUnsupported) || string(payload) != rest || list(w.All()) != list(h.All()) {
			t.Fatalf("WriterOf: got payload %.100q, error %v", payload, err)
		}
		w.Limit = 1 << 14
		again := w.AppendTo(nil, payload)
		if !envelope.Is(body) && !bytes.Equal(again, body) {
			t.Fatal("a plain body was changed")
		}
		if err == nil && w.Len() > 0 && !envelope.Is(payload) { // else it is merged
			h2, payload2, _ := envelope.Split(again)
			if list(h2.All()) != list(h.All()) || !bytes.Equal(payload2, payload) {
				t.Fatalf("round trip: got %.200q of %.200q", again, body)
			}
		}
	})
}

func FuzzWriter(f *testing.F) {
	f.Add("traceparent", traceparent, "baggage", "a=1", 0, []byte("payload"))
	f.Add("!a", "1", "A", "\n", 10, golden("payload"))
	f.Add("k", strings.Repeat("v", 200), "K", "2", 1<<20, raw("", "k", "3", "!", ""))
	f.Add("baggage", strings.Repeat("v", 100), "k", "2", 80, golden("payload"))
	f.Add("é", "1", "", "2", -1, golden("")[:30])
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string, limit int, payload []byte) {
		w := envelope.Writer{Limit: limit}
		for _, h := range [][2]string{{k1, v1}, {k2, v2}} {
			err := w.Set(h[0], h[1])
			// Lengths aside, what Set takes is what Split takes.
			fine := 1 <= len(h[0]) && len(h[0]) <= 127 && len(h[1]) <= 16383
			if fine && len(h[0])+len(h[1]) < 16000 {
				_, kind := judge(string(raw("", h[0], h[1])))
				fine = kind != envelope.ErrMalformed
			} else if fine {
				fine = err == nil
			}
			if (err == nil) != fine {
				t.Fatalf("Set(%q, %.100q): %v", h[0], h[1], err)
			}
		}
		body := w.AppendTo([]byte("dst"), payload)
		if string(body[:3]) != "dst" || w.Size(payload) != len(body)-3 {
			t.Fatalf("Size is %d, AppendTo has appended %d", w.Size(payload), len(body)-3)
		}
		body = body[3:]
		if w.Len() == 0 && !bytes.Equal(body, payload) {
			t.Fatal("the payload was changed without headers")
		}
		rest, kind := judge(string(payload))
		if kind == envelope.ErrUnsupported {
			kind = nil
		}
		if w.Len() == 0 || kind != nil && !envelope.Is(body) {
			return
		}
		h, got, err := envelope.Split(body)
		if err != nil && !errors.Is(err, envelope.ErrUnsupported) && kind == nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if err == nil && string(got) != rest {
			t.Fatalf("payload: got %.100q, want %.100q", got, rest)
		}
		for key, value := range h.All() {
			if set, ok := w.Get(key); ok && set != value {
				t.Fatalf("%s: got %.100q, want %.100q", key, value, set)
			}
		}
	})
}
