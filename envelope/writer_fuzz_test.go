package envelope_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/envelope"
)

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
			// Apart from lengths, Set accepts what Split accepts.
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
			t.Fatalf("AppendTo wrote an envelope that Split cannot read: %v", err)
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
