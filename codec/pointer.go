package codec

import (
	"errors"
	"fmt"
	"reflect"
)

// ErrNilPointer is the cause when the codec of [Pointer] is to encode nil, which
// has no encoding: most formats would make it an empty body, which nsqd refuses.
var ErrNilPointer = errors.New("value is a nil pointer")

// Pointer makes a codec of *M from two functions over an interface I that *M
// implements. It is the form of protobuf, whose generated types must not be
// copied:
//
//	codec.Pointer[pb.Order](proto.Marshal, proto.Unmarshal) // Codec[*pb.Order]
//
// Decode gives unmarshal a new M each time, never nil; unmarshal must copy
// what it keeps of the bytes, as proto.Unmarshal does. Protobuf takes an empty
// body for a message with all fields at their defaults.
//
// The compiler cannot demand that *M implements I, so the constructor checks
// it: if it does not, or a function is nil, that is a fault that Validate reports.
func Pointer[M, I any](marshal func(I) ([]byte, error), unmarshal func([]byte, I) error) Codec[*M] {
	return &pointerCodec[M, I]{
		checked: check(labelOf[M]("Pointer"), implements[M, I](),
			missing("marshal", marshal == nil), missing("unmarshal", unmarshal == nil)),
		marshal:   marshal,
		unmarshal: unmarshal,
	}
}

// implements returns the fault of an *M that cannot be handed to a func(I).
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
