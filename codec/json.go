package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"sync"
)

// ErrNull is the cause when a body is null, or a value would be encoded as null, and
// the codec does not take it. See [AllowNull].
var ErrNull = errors.New("null is not taken for a value of this type")

// jsonSpace is what JSON calls insignificant whitespace.
const jsonSpace = " \t\r\n"

// JSON is the codec of encoding/json. Decode does what json.Unmarshal does:
//
//   - An empty body is an error, and so is anything but whitespace after the value
//     ({…}{…} is not the first of the two).
//   - Of a duplicate key the last one wins; objects and maps under it are merged.
//   - A key matches a field whose name differs in case only, if none matches exactly.
//   - Unknown fields are ignored, unless [DisallowUnknownFields].
//   - Invalid UTF-8 becomes U+FFFD, unless [StrictUTF8].
//   - Nesting deeper than 10 000, a number that the field cannot hold, NaN, a
//     byte order mark and a raw control character in a string are errors.
//
// It differs in one thing: a body of null is an error ([ErrNull]), where
// json.Unmarshal would report success and hand the handler a zero value. Only slices and
// interfaces take it by default; see [AllowNull].
//
// A body decoded into any, or into a map or slice of it, takes up to 40 times
// its size (1 MiB of "[],[],…" becomes 45 MB), and MaxInFlight bounds bodies, not values: a
// struct type is cheaper and safer.
//
// Append writes what json.Marshal writes but for two things: <, > and & stay as
// they are (a body is not part of an HTML page, and URLs stay short and
// readable), and a MarshalJSON with a pointer receiver is called too,
// as UnmarshalJSON is. A value that encodes as null is [ErrNull] where Decode would refuse it.
//
// Nil options are ignored.
func JSON[T any](opts ...JSONOption) Codec[T] {
	c := &jsonCodec[T]{label: labelOf[T]("JSON")}
	c.allowNull = nullIsAValue(reflect.TypeFor[T]().Kind())
	for _, opt := range opts {
		if opt != nil {
			opt.applyJSON(&c.jsonOptions)
		}
	}
	return c
}

type jsonCodec[T any] struct {
	label
	jsonOptions
	writers sync.Pool // of *jsonWriter
}

func (c *jsonCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	w, ok := c.writers.Get().(*jsonWriter)
	if !ok {
		w = newJSONWriter()
	}
	w.out = dst
	err := w.enc.Encode(&v)
	out := w.out
	w.out = nil // it is the caller's
	c.writers.Put(w)
	if err != nil {
		return dst, c.encodeError(err)
	}
	out = bytes.TrimSuffix(out, []byte("\n"))
	if !c.allowNull && string(out[len(dst):]) == "null" {
		return dst, c.encodeError(ErrNull)
	}
	return out, nil
}

func (c *jsonCodec[T]) Decode(body []byte) (T, error) {
	var v, zero T
	if !c.allowNull && string(bytes.Trim(body, jsonSpace)) == "null" {
		return zero, c.decodeError(ErrNull)
	}
	if c.strictUTF8 {
		if err := checkUTF8(body); err != nil {
			return zero, c.decodeError(err)
		}
	}
	unmarshal := json.Unmarshal
	if c.knownFieldsOnly {
		unmarshal = unmarshalKnown
	}
	if err := unmarshal(body, &v); err != nil {
		return zero, c.decodeError(err)
	}
	return v, nil
}

// unmarshalKnown is json.Unmarshal that refuses unknown fields. Only a Decoder
// can do that, and a Decoder stops at the end of the first value.
func unmarshalKnown(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil && len(bytes.Trim(body[dec.InputOffset():], jsonSpace)) == 0 {
		return nil
	}
	// If body is not one value, Unmarshal says best what there is too little or too much of.
	if invalid := json.Unmarshal(body, new(json.RawMessage)); invalid != nil {
		return invalid
	}
	return err
}

// jsonWriter lets an Encoder append to a slice: unlike json.Marshal it makes
// no copy of its own of the encoding, and pooled it costs nothing.
type jsonWriter struct {
	enc *json.Encoder
	out []byte
}

func newJSONWriter() *jsonWriter {
	w := new(jsonWriter)
	w.enc = json.NewEncoder(w)
	w.enc.SetEscapeHTML(false)
	return w
}

func (w *jsonWriter) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	return len(p), nil
}
