package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

// TestDocuments: a body has the requested size, is an order if it is long enough, and is the same
// in each process.
func TestDocuments(t *testing.T) {
	for _, size := range []int{1, 10, minDocument, 100, 200, 1000, 16_000, 65_536} {
		bodies, again := documents(4, size), documents(4, size)
		for i, body := range bodies {
			if len(body) != size || !bytes.Equal(body, again[i]) {
				t.Fatalf("%d bytes, want %d, and then %q", len(body), size, again[i])
			}
			if size < minDocument {
				continue
			}
			if i > 0 && bytes.Equal(body, bodies[i-1]) {
				t.Errorf("size %d: two bodies are alike", size)
			}
			body = bytes.Clone(body)
			body[kindOffset] = startMark
			var o order
			if err := json.Unmarshal(body, &o); err != nil {
				t.Fatalf("size %d: %v: %s", size, err, body)
			}
			if o.Kind != string(startMark) || o.ID == 0 || o.Customer == "" || o.Cents == 0 || !o.Paid {
				t.Errorf("size %d: %+v", size, o)
			}
			if size >= 200 && len(o.Lines) < size/100 {
				t.Errorf("size %d: %d lines", size, len(o.Lines))
			}
		}
	}
}

// TestLibraries: all libraries decode the same.
func TestLibraries(t *testing.T) {
	body := documents(1, 1000)[0]
	want, err := encodingJSON().codec.Decode(body)
	if err != nil || len(want.Lines) == 0 {
		t.Fatalf("%+v, %v", want, err)
	}
	for name, l := range map[string]library{"encoding/json": encodingJSON(), "goccy": goccyJSON(), "segmentio": segmentioJSON()} {
		decoded, err := l.codec.Decode(body)
		if err != nil || decoded.ID != want.ID || len(decoded.Lines) != len(want.Lines) || decoded.Lines[0] != want.Lines[0] {
			t.Errorf("%s: %+v, %v; want %+v", name, decoded, err, want)
		}
		var alone order
		if err := l.unmarshal(body, &alone); err != nil || alone.ID != want.ID {
			t.Errorf("%s alone: %+v, %v", name, alone, err)
		}
	}
}

func TestMark(t *testing.T) {
	for kind, want := range map[string]byte{string(startMark): startMark, string(stopMark): stopMark, string(ordinary): ordinary, "": ordinary} {
		if got := mark(kind); len(got) != 1 || got[0] != want {
			t.Errorf("%q: %q, want %q", kind, got, want)
		}
	}
}
