package codec

// Func returns a codec of two functions that obey the contract of the methods of [Codec]. It suits
// custom formats, and encodes without an allocation of its own. Validate reports a nil function.
func Func[T any](encode func(dst []byte, v T) ([]byte, error), decode func(body []byte) (T, error)) Codec[T] {
	return &funcCodec[T]{
		checked: check(labelOf[T]("Func"),
			missing("encode", encode == nil), missing("decode", decode == nil)),
		encode: encode,
		decode: decode,
	}
}

type funcCodec[T any] struct {
	checked
	encode func([]byte, T) ([]byte, error)
	decode func([]byte) (T, error)
}

func (c *funcCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	if c.fault != nil {
		return dst, c.fault
	}
	out, err := c.encode(dst, v)
	if err != nil {
		return dst, c.encodeError(err)
	}
	return out, nil
}

func (c *funcCodec[T]) Decode(body []byte) (T, error) {
	var zero T
	if c.fault != nil {
		return zero, c.fault
	}
	v, err := c.decode(body)
	if err != nil {
		return zero, c.decodeError(err)
	}
	return v, nil
}
