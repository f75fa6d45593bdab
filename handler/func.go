package handler

import (
	"context"
	"fmt"
	"reflect"
)

// Func handles one decoded message. It is called concurrently, up to the consumer's concurrency.
//
// nil finishes the message (FIN). An error requeues it (REQ) after a delay that the retry policy
// computes, unless the error asks for something else: see package retry. A panic counts as an
// error.
type Func[T any] func(ctx context.Context, v T) error

// Raw handles one message before it is decoded. Middleware wraps it.
type Raw func(ctx context.Context, m *Message) error

// Middleware wraps a handler. It is called once, when the consumer is built. The Raw it returns
// is called concurrently, once for each message, and must call next at most once.
//
// Middleware sees the payload undecoded, so one middleware serves consumers of all types. It may
// pass on [Message.WithBody] to change the payload to be decoded, and a context derived from its
// own.
type Middleware func(next Raw) Raw

// Chain combines several Middleware into one. The first is the outermost: it sees a message
// first and the result last. nil is skipped; Chain() changes nothing. A Middleware that returns nil
// panics.
func Chain(mw ...Middleware) Middleware {
	return func(next Raw) Raw { return wrap(next, mw) }
}

// wrap puts mw around next, the first outermost.
func wrap[F any, M ~func(F) F](next F, mw []M) F {
	for i := len(mw) - 1; i >= 0; i-- {
		if mw[i] == nil {
			continue
		}
		if next = mw[i](next); reflect.ValueOf(next).IsNil() {
			panic(fmt.Sprintf("nsqx: middleware %d of %d has returned nil", i+1, len(mw)))
		}
	}
	return next
}

// Wrap decorates a typed handler with what needs the decoded value: validation, a lock by key, a
// transaction. The first decorator is the outermost; nil is skipped.
func Wrap[T any](fn Func[T], mw ...func(Func[T]) Func[T]) Func[T] { return wrap(fn, mw) }
