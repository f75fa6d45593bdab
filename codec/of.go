package codec

// Of makes a codec of two functions in the form of json.Marshal and
// json.Unmarshal, which most packages for a format have: CBOR, MessagePack,
// YAML, XML, or encoding/json with another set of rules.
//
// marshal is given the T itself, unmarshal a non-nil *T. Unmarshal must copy
// what it keeps of the bytes, and whether it minds an empty body or bytes after the
// value is up to it. For encoding/json itself take [JSON]; other packages for JSON
// are some times faster (docs/benchmarks has figures for two of them), but
// each has rules of its own for what it accepts. A nil function is
// a fault that Validate reports.
func Of[T any](marshal func(any) ([]byte, error), unmarshal func([]byte, any) error) Codec[T] {
	return &ofCodec[T]{
		checked: check(labelOf[T]("Of"),
			missing("marshal", marshal == nil), missing("unmarshal", unmarshal == nil)),
		marshal:   marshal,
		unmarshal: unmarshal,
	}
}

type ofCodec[T any] struct {
	checked
	marshal   func(any) ([]byte, error)
	unmarshal func([]byte, any) error
}

func (c *ofCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	if c.fault != nil {
		return dst, c.fault
	}
	body, err := c.marshal(v)
	if err != nil {
		return dst, c.encodeError(err)
	}
	return append(dst, body...), nil
}

func (c *ofCodec[T]) Decode(body []byte) (T, error) {
	var v, zero T
	if c.fault != nil {
		return zero, c.fault
	}
	if err := c.unmarshal(body, &v); err != nil {
		return zero, c.decodeError(err)
	}
	return v, nil
}
