package envelope_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/internal/check"
)

func FuzzSplit(f *testing.F) {
	for _, seed := range [][]byte{
		nil, []byte(`{"id":7}`), golden("payload"), golden(""), golden("")[:40], raw("x", "a", "1", "!b", "2", "A", "3"), raw(string(golden("x")), "a", "1"),
		[]byte("\xC1\xCE\xD3\xD1\x12\x80\x80"), []byte("\xC1\xCE\xD3\xD1\x11\xFF\xFF\xFF"), raw("\n", "a", "\n"), raw("", "city", "Zürich"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		rest, kind := judge(string(body))
		if grown := check.Allocated(64<<10, func() { _, _, _ = envelope.Split(body) }); grown > 64<<10 {
			t.Fatalf("%d bytes allocated for a body of %d", grown, len(body))
		}
		h, payload, err := envelope.Split(body)
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
		if err == nil && w.Len() > 0 && !envelope.Is(payload) { // otherwise it is merged
			h2, payload2, _ := envelope.Split(again)
			if list(h2.All()) != list(h.All()) || !bytes.Equal(payload2, payload) {
				t.Fatalf("round trip: got %.200q of %.200q", again, body)
			}
		}
	})
}
