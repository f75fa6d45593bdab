package codec_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/nsqx/nsqx/codec"
)

type order struct {
	ID   int      `json:"id"`
	Item string   `json:"item"`
	Tags []string `json:"tags"`
	Raw  []byte   `json:"raw"`
}

var sample = order{ID: 7, Item: "gopher <& co>", Tags: []string{"a", "b"}, Raw: []byte("raw")}

// message is what protobuf's proto.Message is to generated code.
type message interface {
	marshal() ([]byte, error)
	unmarshal([]byte) error
}

type note struct{ text string }

func (n *note) marshal() ([]byte, error) { return []byte("note:" + n.text), nil }

func (n *note) unmarshal(b []byte) error {
	text, ok := strings.CutPrefix(string(b), "note:")
	if !ok {
		return errNote
	}
	n.text = text
	return nil
}

var errNote = errors.New("not a note")

func marshalMessage(m message) ([]byte, error)   { return m.marshal() }
func unmarshalMessage(b []byte, m message) error { return m.unmarshal(b) }

func appendPair(dst []byte, v [2]string) ([]byte, error) {
	return fmt.Appendf(dst, "%s=%s", v[0], v[1]), nil
}

func parsePair(body []byte) ([2]string, error) {
	key, value, ok := strings.Cut(string(body), "=")
	if !ok {
		return [2]string{key, value}, errPair
	}
	return [2]string{key, value}, nil
}

var errPair = errors.New("not a pair")

func same(b []byte) ([]byte, error) { return b, nil }

// seal and unseal work in place: they return a part of their argument.
func seal(b []byte) ([]byte, error) { return append(b, '!'), nil }

func unseal(b []byte) ([]byte, error) {
	plain, ok := bytes.CutSuffix(b, []byte("!"))
	if !ok {
		return nil, errSeal
	}
	return plain, nil
}

func cutFirst(b []byte) ([]byte, error) { return b[1:], nil }

func addFirst(b []byte) ([]byte, error) { return append([]byte("{"), b...), nil }

var errSeal = errors.New("not sealed")

// subject hides T, so that one table holds codecs of all types.
type subject struct {
	name       string
	append     func(dst []byte) ([]byte, error)
	decode     func(body []byte) (any, error)
	encoding   string
	wantsValue any
}

func subjectOf[T any](name string, c codec.Codec[T], v T, encoding string) subject {
	return subject{
		name:       name,
		append:     func(dst []byte) ([]byte, error) { return c.Append(dst, v) },
		decode:     func(body []byte) (any, error) { return c.Decode(body) },
		encoding:   encoding,
		wantsValue: v,
	}
}

const sampleJSON = `{"id":7,"item":"gopher <& co>","tags":["a","b"],"raw":"cmF3"}`

func subjects() []subject {
	return []subject{
		subjectOf("JSON struct", codec.JSON[order](), sample, sampleJSON),
		subjectOf("JSON pointer", codec.JSON[*order](), &sample, sampleJSON),
		subjectOf("JSON map", codec.JSON[map[string]json.RawMessage](), map[string]json.RawMessage{"a": json.RawMessage(`[1]`)}, `{"a":[1]}`),
		subjectOf("JSON RawMessage", codec.JSON[json.RawMessage](), json.RawMessage(`{"a":1}`), `{"a":1}`),
		subjectOf("JSON strict", codec.JSON[order](codec.DisallowUnknownFields(), codec.StrictUTF8()), sample, sampleJSON),
		subjectOf("Bytes", codec.Bytes(), []byte("payload"), "payload"),
		subjectOf("String", codec.String(), "payload", "payload"),
		subjectOf("Of", codec.Of[order](json.Marshal, json.Unmarshal), sample, strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`).Replace(sampleJSON)),
		subjectOf("Of xml", codec.Of[struct{ A string }](marshalXML, xml.Unmarshal), struct{ A string }{"x"}, `<v><A>x</A></v>`),
		subjectOf("Func", codec.Func(appendPair, parsePair), [2]string{"k", "v"}, "k=v"),
		subjectOf("Pointer", codec.Pointer[note](marshalMessage, unmarshalMessage), &note{"hi"}, "note:hi"),
		subjectOf("Map identity of Bytes", codec.Map(codec.Bytes(), same, same), []byte("payload"), "payload"),
		subjectOf("Map identity of String", codec.Map(codec.String(), same, same), "payload", "payload"),
		subjectOf("Map in place", codec.Map(codec.Bytes(), seal, unseal), []byte("payload"), "payload!"),
		subjectOf("Map shorter", codec.Map(codec.JSON[order](), cutFirst, addFirst), sample, sampleJSON[1:]),
		subjectOf("Map of Map", codec.Map(codec.Map(codec.String(), seal, unseal), seal, unseal), "payload", "payload!!"),
	}
}

func marshalXML(v any) ([]byte, error) {
	var b bytes.Buffer
	err := xml.NewEncoder(&b).EncodeElement(v, xml.StartElement{Name: xml.Name{Local: "v"}})
	return b.Bytes(), err
}

func TestAppend(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			for _, room := range []int{0, 3, 4096} { // none, too little, plenty
				dst := append(make([]byte, 0, 4+room), "head"...)
				got, err := s.append(dst)
				if err != nil {
					t.Fatal(err)
				}
				if want := "head" + s.encoding; string(got) != want {
					t.Errorf("room %d: got %q, want %q", room, got, want)
				}
				if string(dst) != "head" {
					t.Errorf("room %d: dst became %q", room, dst)
				}
				inPlace := &got[0] == &dst[0]
				if fits := room >= len(s.encoding); inPlace != fits {
					t.Errorf("room %d: in place %v, want %v", room, inPlace, fits)
				}
			}
			if got, err := s.append(nil); err != nil || string(got) != s.encoding {
				t.Errorf("nil dst: %q, %v, want %q", got, err, s.encoding)
			}
		})
	}
}

// Codec input: codec retains the buffer. The body must come through unchanged,
// and the value must not change with the body afterwards.
func TestDecodeKeepsNothingOfTheBody(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			body := []byte(s.encoding)
			got, err := s.decode(body)
			if err != nil {
				t.Fatal(err)
			}
			if string(body) != s.encoding {
				t.Errorf("body became %q, want %q", body, s.encoding)
			}
			for i := range body {
				body[i] = 0xdb
			}
			if !reflect.DeepEqual(got, s.wantsValue) {
				t.Errorf("got %+v, want %+v", got, s.wantsValue)
			}
		})
	}
}

// The value of one call must not change with the next: pooled and reused
// memory stays behind the contract.
func TestAppendKeepsNothingOfTheBuffer(t *testing.T) {
	scratch := make([]byte, 0, 64)
	reused := codec.Of[string](
		func(v any) ([]byte, error) { return append(scratch[:0], v.(string)...), nil },
		func(b []byte, v any) error { *v.(*string) = string(b); return nil })
	for name, c := range map[string]codec.Codec[string]{
		"JSON":                   codec.JSON[string](),
		"Of that reuses memory":  reused,
		"Map that reuses memory": codec.Map(codec.String(), func(b []byte) ([]byte, error) { return append(scratch[:0], b...), nil }, same),
	} {
		first, err1 := c.Append(nil, "first")
		before := string(first)
		_, err2 := c.Append(nil, "other")
		if err1 != nil || err2 != nil || string(first) != before {
			t.Errorf("%s: %q became %q (%v, %v)", name, before, first, err1, err2)
		}
	}
}

func TestEmptyBody(t *testing.T) {
	if got, err := codec.Bytes().Decode([]byte{}); err != nil || got == nil || len(got) != 0 {
		t.Errorf("Bytes: %#v, %v, want an empty slice", got, err)
	}
	if got, err := codec.Bytes().Decode(nil); err != nil || got == nil || len(got) != 0 {
		t.Errorf("Bytes of nil: %#v, %v, want an empty slice", got, err)
	}
	if got, err := codec.String().Decode(nil); err != nil || got != "" {
		t.Errorf("String: %q, %v, want an empty string", got, err)
	}
}

func TestBytesDecodeMayBeChanged(t *testing.T) {
	body := []byte("payload")
	got, err := codec.Bytes().Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	got[0] = 'X'
	if string(body) != "payload" {
		t.Errorf("body became %q", body)
	}
}

func TestConcurrentUse(t *testing.T) {
	for _, s := range subjects() {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					body, err := s.append(nil)
					if err != nil || string(body) != s.encoding {
						t.Errorf("%s: append: %q, %v", s.name, body, err)
						return
					}
					if got, err := s.decode(body); err != nil || !reflect.DeepEqual(got, s.wantsValue) {
						t.Errorf("%s: decode: %+v, %v", s.name, got, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}
