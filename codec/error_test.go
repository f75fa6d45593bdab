package codec_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/codec"
)

func TestErrors(t *testing.T) {
	failing := map[string]codec.Codec[string]{
		"Of[string]":   codec.Of[string](failMarshal, failUnmarshal),
		"Func[string]": codec.Func(failAppend, failParse),
		"Map[string]":  codec.Map(codec.String(), failBytes, failBytes),
	}
	for name, c := range failing {
		t.Run(name, func(t *testing.T) {
			dst, err := c.Append([]byte("head"), "v")
			checkError(t, err, name, "encode", errCause)
			if string(dst) != "head" {
				t.Errorf("dst is %q after an error, want it as it was", dst)
			}
			v, err := c.Decode([]byte("body"))
			checkError(t, err, name, "decode", errCause)
			if v != "" {
				t.Errorf("value is %q after an error, want zero", v)
			}
		})
	}

}

func TestErrorTextIsShort(t *testing.T) {
	c := codec.JSON[order](codec.DisallowUnknownFields())
	_, err := c.Decode([]byte(`{"` + strings.Repeat("é", 1<<19) + `":1}`))
	if err == nil {
		t.Fatal("an unknown field was accepted")
	}
	if n := len(err.Error()); n > 320 {
		t.Errorf("the text has %d bytes", n)
	}
	if !strings.HasSuffix(err.Error(), "é…") {
		t.Errorf("the text is cut within a character: %q", err)
	}
	if n := len(errors.Unwrap(err).Error()); n < 1<<20 {
		t.Errorf("the cause has %d bytes, want it whole", n)
	}
}

func TestValidate(t *testing.T) {
	type validator interface{ Validate() error }
	sound := map[string]any{
		"Of":      codec.Of[order](json.Marshal, json.Unmarshal),
		"Func":    codec.Func(appendPair, parsePair),
		"Pointer": codec.Pointer[note](marshalMessage, unmarshalMessage),
		"Pointer of its own pointer": codec.Pointer[note](
			func(n *note) ([]byte, error) { return n.marshal() },
			func(b []byte, n *note) error { return n.unmarshal(b) }),
		"Pointer of any":     codec.Pointer[order](json.Marshal, json.Unmarshal),
		"Map":                codec.Map(codec.String(), same, same),
		"Map of a sound one": codec.Map(codec.Func(failAppend, failParse), same, same),
	}
	for name, c := range sound {
		if err := c.(validator).Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	for _, tt := range []struct {
		name  string
		codec codec.Codec[string]
		want  string
	}{
		{"Of without marshal", codec.Of[string](nil, json.Unmarshal), "nsqx: codec.Of[string]: marshal is nil"},
		{"Of without unmarshal", codec.Of[string](json.Marshal, nil), "nsqx: codec.Of[string]: unmarshal is nil"},
		{"Of without either", codec.Of[string](nil, nil), "nsqx: codec.Of[string]: marshal is nil\nunmarshal is nil"},
		{"Func without encode", codec.Func(nil, failParse), "nsqx: codec.Func[string]: encode is nil"},
		{"Func without decode", codec.Func(failAppend, nil), "nsqx: codec.Func[string]: decode is nil"},
		{"Map without inner", codec.Map[string](nil, same, same), "nsqx: codec.Map[string]: inner is nil"},
		{"Map without encode", codec.Map(codec.String(), nil, same), "nsqx: codec.Map[string]: encode is nil"},
		{"Map without decode", codec.Map(codec.String(), same, nil), "nsqx: codec.Map[string]: decode is nil"},
		{"Map of a faulty inner", codec.Map(codec.Of[string](nil, json.Unmarshal), same, nil),
			"nsqx: codec.Map[string]: decode is nil\nnsqx: codec.Of[string]: marshal is nil"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkFault(t, tt.codec, tt.want)
		})
	}
	t.Run("Map of a faulty inner alone", func(t *testing.T) {
		c := codec.Map(codec.Of[string](nil, json.Unmarshal), same, same)
		checkFault(t, c, "nsqx: codec.Of[string]: marshal is nil")
	})
	t.Run("Pointer without functions", func(t *testing.T) {
		checkFault(t, codec.Pointer[note, message](nil, nil), "nsqx: codec.Pointer[codec_test.note]: marshal is nil\nunmarshal is nil")
	})
	t.Run("Pointer that does not implement", func(t *testing.T) {
		c := codec.Pointer[order](marshalMessage, unmarshalMessage)
		checkFault(t, c, "nsqx: codec.Pointer[codec_test.order]: *codec_test.order does not implement codec_test.message")
	})
	t.Run("Pointer to another type than the functions take", func(t *testing.T) {
		c := codec.Pointer[order](
			func(n *note) ([]byte, error) { return n.marshal() },
			func(b []byte, n *note) error { return n.unmarshal(b) })
		checkFault(t, c, "nsqx: codec.Pointer[codec_test.order]: the functions take a *codec_test.note, which a *codec_test.order is not")
	})
}
