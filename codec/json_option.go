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

// DisallowUnknownFields makes a key that no field of the struct matches an
// error of Decode, at any depth. Mind the order of a deploy: with it a producer cannot add
// a field before all consumers know it. It costs a copy of the body.
// Defaults to ignoring such keys.
func DisallowUnknownFields() JSONOption {
	return jsonOption(func(o *jsonOptions) { o.knownFieldsOnly = true })
}

// AllowNull makes null a body like any other: Decode leaves it to
// encoding/json, which makes it nil or, silently, the zero value.
//
// By default the kind of T decides, also where T has an UnmarshalJSON of its own:
//
//   - Slices and interfaces take null. encoding/json writes a nil slice as
//     null, and who handles any must expect nil.
//   - Structs, arrays, booleans, numbers and strings refuse it. They have
//     no value for it, and the handler would bill an order 0 to customer "".
//   - Maps and pointers refuse it. They do have nil, but a handler that
//     writes to the map or follows the pointer panics, at each attempt anew.
//
// The rule is about the whole body: null in a field is encoding/json's matter.
func AllowNull() JSONOption {
	return jsonOption(func(o *jsonOptions) { o.allowNull = true })
}

func nullIsAValue(kind reflect.Kind) bool {
	return kind == reflect.Slice || kind == reflect.Interface
}

// StrictUTF8 makes a body an error ([ErrUTF8]) that encoding/json could only decode by putting
// U+FFFD in place of what is there: bytes that are not UTF-8, and \u escapes
// that are half a surrogate pair. Two keys or names that differ there would
// become one. It is a rule for Decode: Append writes U+FFFD as encoding/json does.
// Defaults to encoding/json's way.
func StrictUTF8() JSONOption {
	return jsonOption(func(o *jsonOptions) { o.strictUTF8 = true })
}
