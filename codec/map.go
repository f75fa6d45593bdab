package codec

import "errors"

// Map returns a codec that transforms the bytes of inner: it compresses, encrypts, signs or adds a
// version byte. Append applies encode to the output of inner; Decode applies decode to a body and
// gives the result to inner. Calls of Map nest: the outermost encodes last and decodes first.
//
// encode and decode may return their argument, a part of it, or other memory. The result is copied.
// encode may overwrite its argument; decode must not. Neither may keep it.
//
// nsqx limits the size of a body, but not the size of the result of decode. A decompressor must set
// a limit of its own: a body of 1 MiB can decompress to a gigabyte.
//
// Validate reports a nil inner or function, and the error of inner's own Validate.
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
	// inner writes to the spare capacity of dst, which the result then overwrites. They may
	// overlap: append copies correctly.
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
