package codec_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
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

// message stands for proto.Message, and note for generated code.
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

// mark and unmark work in place: they return a part of their argument.
func mark(b []byte) ([]byte, error) { return append(b, '!'), nil }

func unmark(b []byte) ([]byte, error) {
	plain, ok := bytes.CutSuffix(b, []byte("!"))
	if !ok {
		return nil, errMark
	}
	return plain, nil
}

func cutFirst(b []byte) ([]byte, error) { return b[1:], nil }

func addFirst(b []byte) ([]byte, error) { return append([]byte("{"), b...), nil }

var errMark = errors.New("no mark")

// subject hides T, so one table can hold codecs of all types.
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
		subjectOf("Map in place", codec.Map(codec.Bytes(), mark, unmark), []byte("payload"), "payload!"),
		subjectOf("Map shorter", codec.Map(codec.JSON[order](), cutFirst, addFirst), sample, sampleJSON[1:]),
		subjectOf("Map of Map", codec.Map(codec.Map(codec.String(), mark, unmark), mark, unmark), "payload", "payload!!"),
	}
}

func marshalXML(v any) ([]byte, error) {
	var b bytes.Buffer
	err := xml.NewEncoder(&b).EncodeElement(v, xml.StartElement{Name: xml.Name{Local: "v"}})
	return b.Bytes(), err
}

var errCause = errors.New("the cause")

func failMarshal(any) ([]byte, error)               { return []byte("half"), errCause }
func failUnmarshal(_ []byte, v any) error           { *v.(*string) = "half"; return errCause }
func failBytes([]byte) ([]byte, error)              { return []byte("half"), errCause }
func failAppend(d []byte, _ string) ([]byte, error) { return append(d, "half"...), errCause }
func failParse([]byte) (string, error)              { return "half", errCause }

func checkError(t *testing.T, err error, name, op string, cause error) {
	t.Helper()
	var e *codec.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *codec.Error", err)
	}
	if e.Codec != name || e.Op != op || !errors.Is(err, cause) {
		t.Errorf("got %q %q %v, want %q %q %v", e.Codec, e.Op, e.Err, name, op, cause)
	}
	if want := "nsqx: codec." + name + ": " + op + ": " + cause.Error(); err.Error() != want {
		t.Errorf("text is %q, want %q", err, want)
	}
}

// checkFault checks that c reports the fault, and fails at each use instead of panicking.
func checkFault[T any](t *testing.T, c codec.Codec[T], want string) {
	t.Helper()
	err := c.(interface{ Validate() error }).Validate()
	if err == nil || err.Error() != want {
		t.Errorf("Validate: %v, want %s", err, want)
	}
	var v T
	dst, err := c.Append([]byte("head"), v)
	var e *codec.Error
	if !errors.As(err, &e) || e.Op != "" || string(dst) != "head" {
		t.Errorf("Append: %q, %v", dst, err)
	}
	if _, err := c.Decode([]byte("body")); !errors.As(err, &e) || e.Op != "" {
		t.Errorf("Decode: %v", err)
	}
}
