// Benchmarks and allocations of json.go.

package codec_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/nsqx/nsqx/codec"
)

type small struct {
	ID       int64    `json:"id"`
	Customer string   `json:"customer"`
	Cents    int64    `json:"cents"`
	Tags     []string `json:"tags"`
}

var (
	smallValue = small{ID: 42, Customer: "gopher", Cents: 1999, Tags: []string{"a", "b"}}
	smallBody  = []byte(`{"id":42,"customer":"gopher","cents":1999,"tags":["a","b"]}`)
)

func decodePlain(body []byte) (small, error) {
	var v small
	err := json.Unmarshal(body, &v)
	return v, err
}

func decodeKnown(body []byte) (small, error) {
	var v small
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(&v)
	return v, err
}

func appendPlain(dst []byte, v small) ([]byte, error) {
	body, err := json.Marshal(v)
	return append(dst, body...), err
}

// Neither direction allocates more than encoding/json.
func TestJSONAllocations(t *testing.T) {
	buf := make([]byte, 0, 512)
	measure := func(f func() error) float64 {
		return testing.AllocsPerRun(200, func() {
			if err := f(); err != nil {
				t.Error(err)
			}
		})
	}
	decoding := func(decode func([]byte) (small, error)) float64 {
		return measure(func() error { _, err := decode(smallBody); return err })
	}
	appending := func(enc func([]byte, small) ([]byte, error)) float64 {
		return measure(func() error { _, err := enc(buf, smallValue); return err })
	}
	for _, tt := range []struct {
		name        string
		ours, plain float64
	}{
		{"Decode", decoding(codec.JSON[small]().Decode), decoding(decodePlain)},
		{"Decode, StrictUTF8", decoding(codec.JSON[small](codec.StrictUTF8()).Decode), decoding(decodePlain)},
		{"Decode, DisallowUnknownFields", decoding(codec.JSON[small](codec.DisallowUnknownFields()).Decode), decoding(decodeKnown)},
		{"Append", appending(codec.JSON[small]().Append), appending(appendPlain)},
	} {
		if tt.ours > tt.plain {
			t.Errorf("%s: %v allocations, encoding/json has %v", tt.name, tt.ours, tt.plain)
		}
	}
}

func BenchmarkJSONDecode(b *testing.B) {
	for _, bb := range []struct {
		name   string
		decode func([]byte) (small, error)
	}{
		{"encoding_json", decodePlain},
		{"codec", codec.JSON[small]().Decode},
		{"codec_StrictUTF8", codec.JSON[small](codec.StrictUTF8()).Decode},
		{"encoding_json_DisallowUnknownFields", decodeKnown},
		{"codec_DisallowUnknownFields", codec.JSON[small](codec.DisallowUnknownFields()).Decode},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bb.decode(smallBody); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkJSONAppend(b *testing.B) {
	buf := make([]byte, 0, 512)
	for _, bb := range []struct {
		name string
		enc  func([]byte, small) ([]byte, error)
	}{
		{"encoding_json", appendPlain},
		{"codec", codec.JSON[small]().Append},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bb.enc(buf, smallValue); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
