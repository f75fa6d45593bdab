package handler

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
)

// Decoder is the half of a codec.Codec that a consumer needs.
type Decoder[T any] interface {
	// Decode must copy what it keeps of body, which is lent for the call.
	Decode(body []byte) (T, error)
}

// Typed makes a [Raw] of a typed handler: the innermost step of a consumer's
// chain. A body that does not decode, a decoder that panics, or an envelope that
// cannot be read is a [*DecodeError]; fn is not called then.
func Typed[T any](dec Decoder[T], fn Func[T]) Raw {
	return func(ctx context.Context, m *Message) error {
		if err := m.envelopeError(); err != nil {
			return &DecodeError{Err: err}
		}
		v, err := decode(dec, m.Body)
		if err != nil {
			return &DecodeError{Err: err}
		}
		return fn(ctx, v)
	}
}

func decode[T any](dec Decoder[T], body []byte) (v T, err error) {
	returned := false
	defer func() {
		if returned { // nearly always: recover takes its time
			return
		}
		if p := recover(); p != nil {
			err = NewPanicError(p)
		}
	}()
	v, err = dec.Decode(body)
	returned = true
	return v, err
}

// DecodeError says that the payload of a message could not be decoded. The
// handler was not called.
type DecodeError struct {
	Err error // the codec's, or an *envelope.FormatError
}

// Error names what the codec said, or what is wrong with the envelope.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("nsqx: payload does not decode: %s", strings.TrimPrefix(fmt.Sprint(e.Err), "nsqx: "))
}

// Unwrap returns Err.
func (e *DecodeError) Unwrap() error { return e.Err }

// PanicError is a panic of a handler, a codec or a middleware, as an error.
type PanicError struct {
	Value any    // what was passed to panic
	Stack []byte // of the goroutine that panicked, as debug.Stack formats it
}

// NewPanicError makes a PanicError of what recover returned, with the stack of
// the calling goroutine. Call it in the deferred function that recovers.
func NewPanicError(value any) *PanicError {
	return &PanicError{Value: value, Stack: debug.Stack()}
}

// Error names the value, not the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("nsqx: panic: %v", e.Value) }

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
