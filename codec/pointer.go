package codec

import (
	"errors"
	"fmt"
	"reflect"
)

// ErrNilPointer is the cause when a codec of [Pointer] encodes nil. Most formats would encode nil
// as an empty body, which nsqd refuses.
var ErrNilPointer = errors.New("value is a nil pointer")

// Pointer returns a codec of *M, made of two functions over an interface I that *M implements. It
// suits protobuf, whose generated types must not be copied:
//
//	codec.Pointer[pb.Order](proto.Marshal, proto.Unmarshal) // Codec[*pb.Order]
//
// Decode passes a new M to unmarshal each time. unmarshal must copy what it keeps of the bytes, as
// proto.Unmarshal does. Protobuf decodes an empty body to a message with default fields.
//
// Validate reports a nil function, and an *M that does not implement I, which the compiler cannot
// check.
func Pointer[M, I any](marshal func(I) ([]byte, error), unmarshal func([]byte, I) error) Codec[*M] {
	return &pointerCodec[M, I]{
		checked: check(labelOf[M]("Pointer"), implements[M, I](),
			missing("marshal", marshal == nil), missing("unmarshal", unmarshal == nil)),
		marshal:   marshal,
		unmarshal: unmarshal,
	}
}

// implements returns an error if *M cannot be passed to a func(I).
func implements[M, I any]() error {
	if _, ok := any((*M)(nil)).(I); ok {
		return nil
	}
	pointer, want := reflect.TypeFor[*M](), reflect.TypeFor[I]()
	if want.Kind() != reflect.Interface {
		return fmt.Errorf("the functions take a %v, which a %v is not", want, pointer)
	}
	return fmt.Errorf("%v does not implement %v", pointer, want)
}

type pointerCodec[M, I any] struct {
	checked
	marshal   func(I) ([]byte, error)
	unmarshal func([]byte, I) error
}

func (c *pointerCodec[M, I]) Append(dst []byte, v *M) ([]byte, error) {
	if c.fault != nil {
		return dst, c.fault
	}
	if v == nil {
		return dst, c.encodeError(ErrNilPointer)
	}
	body, err := c.marshal(any(v).(I))
	if err != nil {
		return dst, c.encodeError(err)
	}
	return append(dst, body...), nil
}

func (c *pointerCodec[M, I]) Decode(body []byte) (*M, error) {
	if c.fault != nil {
		return nil, c.fault
	}
	v := new(M)
	if err := c.unmarshal(body, any(v).(I)); err != nil {
		return nil, c.decodeError(err)
	}
	return v, nil
}
