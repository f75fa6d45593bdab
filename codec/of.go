package codec

// Of returns a codec of two functions with the signatures of json.Marshal and json.Unmarshal. Most
// packages for CBOR, MessagePack, YAML or XML have such functions.
//
// marshal receives the T, unmarshal a non-nil *T. unmarshal must copy what it keeps of the bytes.
// It decides whether an empty body, or bytes after the value, are an error.
//
// For encoding/json use [JSON]. Other JSON packages can be several times faster (docs/benchmarks
// compares two), but each has its own rules for what it accepts.
//
// Validate reports a nil function.
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
