package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// maxText is the most bytes of a cause that Error prints: encoding/json quotes names and numbers in
// full, and a body may be one name of a megabyte.
const maxText = 256

// Error is the error of every codec of this package. Unwrap returns the cause, such as a
// *json.SyntaxError, [ErrNull], or the error of a function given to the codec.
type Error struct {
	Codec string // constructor and type, such as "JSON[main.Order]"
	Op    string // "encode" or "decode"; "" if the codec has an unusable part
	Err   error  // the cause, never nil
}

// Error returns the codec, the direction and at most 256 bytes of the cause.
func (e *Error) Error() string {
	text := e.Err.Error()
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	if e.Op == "" {
		return fmt.Sprintf("nsqx: codec.%s: %s", e.Codec, text)
	}
	return fmt.Sprintf("nsqx: codec.%s: %s: %s", e.Codec, e.Op, text)
}

// Unwrap returns the whole cause.
func (e *Error) Unwrap() error { return e.Err }

// label names a codec in its errors.
type label string

func labelOf[T any](constructor string) label {
	return label(constructor + "[" + reflect.TypeFor[T]().String() + "]")
}

func (l label) encodeError(err error) error {
	return &Error{Codec: string(l), Op: "encode", Err: err}
}

func (l label) decodeError(err error) error {
	return &Error{Codec: string(l), Op: "decode", Err: err}
}

// checked is the part of a codec that reports what its constructor found wrong.
type checked struct {
	label
	fault error
}

// Validate reports the unusable parts of the codec.
func (c *checked) Validate() error { return c.fault }

func check(l label, faults ...error) checked {
	c := checked{label: l}
	if err := errors.Join(faults...); err != nil {
		c.fault = &Error{Codec: string(l), Err: err}
	}
	return c
}

// missing returns an error if a part is nil.
func missing(part string, isNil bool) error {
	if !isNil {
		return nil
	}
	return errors.New(part + " is nil")
}
