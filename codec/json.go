package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"sync"
)

// ErrNull is the cause when a body is null, or a value would encode as null, and the codec does not
// accept null. See [AllowNull].
var ErrNull = errors.New("null is not taken for a value of this type")

// jsonSpace is the whitespace that JSON allows around a value.
const jsonSpace = " \t\r\n"

// JSON returns the codec of encoding/json. Decode follows json.Unmarshal:
//
//   - An empty body is an error, and so is anything but whitespace after the value, as in {…}{…}.
//   - Of duplicate keys the last wins; objects and maps under them are merged.
//   - A key matches a field whose name differs only in case, unless another matches exactly.
//   - Unknown fields are ignored, unless [DisallowUnknownFields] is set.
//   - Invalid UTF-8 becomes U+FFFD, unless [StrictUTF8] is set.
//   - Nesting deeper than 10 000, a number that the field cannot hold, NaN, a byte order mark and a
//     raw control character in a string are errors.
//
// The one difference is null: json.Unmarshal accepts a body of null, so the handler would get a
// zero value. Here it is an error ([ErrNull]), except for slices and interfaces; see [AllowNull].
//
// Prefer a struct type to any, or a map or slice of any. Such a value takes up to 40 times the size
// of its body (1 MiB of "[],[],…" becomes 45 MB), and MaxInFlight limits bodies, not values.
//
// Append follows json.Marshal with two differences: <, > and & are not escaped, since a body is not
// HTML, and a MarshalJSON with a pointer receiver is called, as UnmarshalJSON is. A value that
// encodes as null is [ErrNull] where Decode would refuse null.
//
// A program built with GOEXPERIMENT=jsonv2 has an encoding/json that decodes in about half the time,
// and needs no other change.
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
	w.out = nil // the buffer belongs to the caller
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

// unmarshalKnown is json.Unmarshal, except that unknown fields are an error. It uses a Decoder,
// which alone can refuse them, but which stops after the first value.
func unmarshalKnown(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil && len(bytes.Trim(body[dec.InputOffset():], jsonSpace)) == 0 {
		return nil
	}
	// Of a body that is not exactly one value, Unmarshal has the better error.
	if invalid := json.Unmarshal(body, new(json.RawMessage)); invalid != nil {
		return invalid
	}
	return err
}

// jsonWriter lets an Encoder append to a slice. Pooled, it saves the copy that json.Marshal makes.
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
