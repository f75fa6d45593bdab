package codec

import "errors"

// Map lays a transformation of the bytes over inner: compression, encryption,
// a signature, a version byte. encode is applied to what inner wrote, decode
// to a body before inner reads it; several are laid by nesting, the outermost
// is last on the way out and first on the way in.
//
// Both may return their argument, a part of it or memory of their own, which
// is copied. encode may overwrite its argument; decode must not, a body is
// read-only. Neither may keep it. The size of a body is bounded by nsqx, that of what
// decode makes of it is not: a decompressor has to set a limit, since a body
// of 1 MiB can hold a gigabyte of zeros.
//
// A nil inner or function is a fault that Validate reports, beside inner's own.
func Map[T any](inner Codec[T], encode, decode func([]byte) ([]byte, error)) Codec[T] {
	return &mapCodec[T]{
		checked: check(labelOf[T]("Map"), missing("inner", inner == nil),
			missing("encode", encode == nil), missing("decode", decode == nil)),
		inner:  inner,
		encode: encode,
		decode: decode,
	}
}

type mapCodec[T any] struct {
	checked
	inner          Codec[T]
	encode, decode func([]byte) ([]byte, error)
}

func (c *mapCodec[T]) Validate() error {
	if inner, ok := c.inner.(interface{ Validate() error }); ok {
		return errors.Join(c.fault, inner.Validate())
	}
	return c.fault
}

func (c *mapCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	if c.fault != nil {
		return dst, c.fault
	}
	// The spare room of dst serves inner, then is overwritten with the result;
	// append moves rightly where the two overlap.
	plain, err := c.inner.Append(dst[len(dst):], v)
	if err != nil {
		return dst, err
	}
	body, err := c.encode(plain)
	if err != nil {
		return dst, c.encodeError(err)
	}
	return append(dst, body...), nil
}

func (c *mapCodec[T]) Decode(body []byte) (T, error) {
	var zero T
	if c.fault != nil {
		return zero, c.fault
	}
	plain, err := c.decode(body)
	if err != nil {
		return zero, c.decodeError(err)
	}
	return c.inner.Decode(plain)
}
