package codec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/nsqx/nsqx/codec"
)

type everything struct {
	B    bool               `json:"b"`
	I    int64              `json:"i"`
	F    float64            `json:"f"`
	S    string             `json:"s"`
	Raw  []byte             `json:"raw"`
	Any  any                `json:"any"`
	List []string           `json:"list"`
	Map  map[string]float32 `json:"map"`
	Next *everything        `json:"next"`
}

// For any body, Decode agrees with encoding/json, its value survives Append and Decode, and the
// value does not depend on the body afterwards.
func FuzzJSONRoundTrip(f *testing.F) {
	for _, seed := range []string{
		"", "null", " null ", "{}", "[]", `{"b":true,"i":-1,"f":1e21,"s":"é<&>\u2028","raw":"cmF3"}`,
		`{"any":{"a":[1,"x",null]},"list":["a",""],"map":{"k":0.1},"next":{"next":{}}}`,
		`{"S":"other case","s":"last"}`, `{"z":1}`, "{\"s\":\"\xff\"}", `{"s":"\ud800"}`, `{}{}`, `{"i":1e400}`,
	} {
		f.Add([]byte(seed))
	}
	lax, strict := codec.JSON[everything](), codec.JSON[everything](codec.DisallowUnknownFields(), codec.StrictUTF8())
	f.Fuzz(func(t *testing.T, data []byte) {
		var want everything
		wantErr := json.Unmarshal(data, &want)

		body := bytes.Clone(data)
		got, err := lax.Decode(body)
		if !bytes.Equal(body, data) {
			t.Fatalf("body became %q", body)
		}
		strictly, strictErr := strict.Decode(body)
		for i := range body {
			body[i] = 0xdb
		}

		if strictErr == nil && (err != nil || !reflect.DeepEqual(strictly, got)) {
			t.Fatalf("strict decodes %+v, lax %+v, %v", strictly, got, err)
		}
		if wantErr != nil && strictErr == nil {
			t.Fatalf("strict accepts what encoding/json refuses: %v", wantErr)
		}
		if (err == nil) != (wantErr == nil) && !errors.Is(err, codec.ErrNull) {
			t.Fatalf("got %v, encoding/json says %v", err, wantErr)
		}
		if err != nil {
			if !reflect.ValueOf(got).IsZero() {
				t.Fatalf("%+v with an error", got)
			}
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, encoding/json %+v", got, want)
		}

		out, err := strict.Append([]byte("head"), got)
		if err != nil || !bytes.HasPrefix(out, []byte("head")) {
			t.Fatalf("append: %q, %v", out, err)
		}
		again, err := strict.Decode(out[len("head"):])
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%s: got %+v, %v, want %+v", out, again, err, got)
		}
	})
}
