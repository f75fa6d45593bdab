package codec

import "reflect"

// JSONOption is an option of [JSON].
type JSONOption interface{ applyJSON(*jsonOptions) }

type jsonOptions struct {
	knownFieldsOnly bool
	allowNull       bool
	strictUTF8      bool
}

type jsonOption func(*jsonOptions)

func (f jsonOption) applyJSON(o *jsonOptions) { f(o) }

// DisallowUnknownFields makes Decode fail for a key that matches no field of its struct, at any
// depth. A producer can then add a field only after all consumers know it. The option costs a copy
// of the body. Defaults to ignoring unknown keys.
func DisallowUnknownFields() JSONOption {
	return jsonOption(func(o *jsonOptions) { o.knownFieldsOnly = true })
}

// AllowNull makes Decode accept a body of null, which encoding/json decodes to nil or the zero
// value.
//
// Defaults to a rule that depends on the kind of T, even if T has an UnmarshalJSON:
//
//   - Slices and interfaces accept null: encoding/json encodes a nil slice as null, and a handler
//     of any must expect nil.
//   - Structs, arrays, booleans, numbers and strings refuse it: they cannot represent null, and the
//     handler would bill order 0 to customer "".
//   - Maps and pointers refuse it: a handler that writes to the map or dereferences the pointer
//     would panic at every attempt.
//
// The rule concerns the whole body. For null in a field encoding/json decides.
func AllowNull() JSONOption {
	return jsonOption(func(o *jsonOptions) { o.allowNull = true })
}

func nullIsAValue(kind reflect.Kind) bool {
	return kind == reflect.Slice || kind == reflect.Interface
}

// StrictUTF8 makes Decode fail with [ErrUTF8] where encoding/json would substitute U+FFFD: for
// bytes that are not UTF-8, and for \u escapes that are half a surrogate pair. Substitution can
// make two different keys or names equal. Append still substitutes, as encoding/json does. Defaults
// to substitution.
func StrictUTF8() JSONOption {
	return jsonOption(func(o *jsonOptions) { o.strictUTF8 = true })
}
