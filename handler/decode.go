package handler

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
)

// Decoder is the half of a codec.Codec that a consumer needs.
type Decoder[T any] interface {
	// Decode must copy the parts of body that it keeps: body is valid during the call only.
	Decode(body []byte) (T, error)
}

// Typed makes a [Raw] of a typed handler. It is the innermost step of a consumer's chain.
//
// If the body does not decode, the decoder panics, or the envelope cannot be read, fn is not
// called and the error is a [*DecodeError].
func Typed[T any](dec Decoder[T], fn Func[T]) Raw {
	return func(ctx context.Context, m *Message) error {
		v, err := decodeMessage(dec, m)
		if err != nil {
			return err
		}
		return fn(ctx, v)
	}
}

// decodeMessage returns the payload of m, or a *DecodeError.
func decodeMessage[T any](dec Decoder[T], m *Message) (v T, err error) {
	if err := m.envelopeError(); err != nil {
		return v, &DecodeError{Err: err}
	}
	if v, err = decode(dec, m.Body); err != nil {
		return v, &DecodeError{Err: err}
	}
	return v, nil
}

func decode[T any](dec Decoder[T], body []byte) (v T, err error) {
	returned := false
	defer func() {
		if returned { // the usual case: recover is slow
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

// DecodeError says that the payload of a message could not be decoded. The handler was not
// called.
type DecodeError struct {
	Err error // from the codec, or an *envelope.FormatError
}

// Error contains the text of Err.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("nsqx: payload does not decode: %s", strings.TrimPrefix(fmt.Sprint(e.Err), "nsqx: "))
}

// Unwrap returns Err.
func (e *DecodeError) Unwrap() error { return e.Err }

// PanicError is a panic of a handler, a codec or a middleware, as an error.
type PanicError struct {
	Value any    // passed to panic
	Stack []byte // of the goroutine that panicked, as formatted by debug.Stack
}

// NewPanicError makes a PanicError of the value that recover returned, with the stack of the
// calling goroutine. Call it in the deferred function that recovers.
func NewPanicError(value any) *PanicError {
	return &PanicError{Value: value, Stack: debug.Stack()}
}

// Error contains the value, not the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("nsqx: panic: %v", e.Value) }

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
