package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// maxText bounds, in bytes, how much of a cause is printed: encoding/json quotes
// names and numbers in full, and a body may be one such name of a megabyte.
const maxText = 256

// Error is the error of every codec of this package. Unwrap gives the cause,
// such as a *json.SyntaxError, [ErrNull], or what a function given to the codec returned.
type Error struct {
	Codec string // the constructor and its type: "JSON[main.Order]"
	Op    string // "encode" or "decode"; empty for a codec made of parts that do not work
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

// Unwrap returns the cause, whole.
func (e *Error) Unwrap() error { return e.Err }

// label is what a codec calls itself in its errors.
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

// checked is a codec's name, and what its constructor found wrong with its parts.
type checked struct {
	label
	fault error
}

// Validate reports the parts the codec was given that cannot work.
func (c *checked) Validate() error { return c.fault }

func check(l label, faults ...error) checked {
	c := checked{label: l}
	if err := errors.Join(faults...); err != nil {
		c.fault = &Error{Codec: string(l), Err: err}
	}
	return c
}

// missing is the fault of a part that is nil.
func missing(part string, isNil bool) error {
	if !isNil {
		return nil
	}
	return errors.New(part + " is nil")
}
