package handler

import "context"

// Func handles one decoded message. It is called by as many goroutines at once
// as the consumer's concurrency.
//
// nil finishes the message (FIN). Any other error requeues it (REQ) after a
// delay that the retry policy computes, unless the error asks for something
// else: see package retry. A panic counts as an error.
type Func[T any] func(ctx context.Context, v T) error

// Raw handles one message before it is decoded. Middleware wraps it.
type Raw func(ctx context.Context, m *Message) error

// Middleware wraps a handler. It is called once, when the consumer is built,
// and not for each message; what it returns is called by many goroutines at
// once and must call next at most once for each message.
//
// Middleware sees the payload undecoded, so one serves consumers of all types.
// It may hand on [Message.WithBody] to change what will be decoded, or another
// context derived from the one that it got.
type Middleware func(next Raw) Raw

// Chain makes one Middleware of several. The first is the outermost: it sees a
// message first and its result last. Nil ones are left out; Chain of nothing
// changes nothing.
func Chain(mw ...Middleware) Middleware {
	return func(next Raw) Raw {
		for i := len(mw) - 1; i >= 0; i-- {
			if mw[i] != nil {
				next = mw[i](next)
			}
		}
		return next
	}
}

// Wrap decorates a typed handler, for what needs the decoded value: validation,
// locking by a key, a transaction. The first decorator is the outermost; nil
// ones are left out.
func Wrap[T any](fn Func[T], mw ...func(Func[T]) Func[T]) Func[T] {
	for i := len(mw) - 1; i >= 0; i-- {
		if mw[i] != nil {
			fn = mw[i](fn)
		}
	}
	return fn
}

// Async makes a handler of a function that answers later: fn starts the work
// and returns, and done, called from any goroutine, is the answer.
//
// The message keeps its place among the consumer's concurrent handlers until
// done is called, so limits, retries and the drain of a shutdown hold as for
// any handler. fn must see to it that done is called in every case, also when
// ctx ends; calls after the first change nothing. If fn itself panics, that is
// the answer.
func Async[T any](fn func(ctx context.Context, v T, done func(error))) Func[T] {
	return func(ctx context.Context, v T) error {
		answer := make(chan error, 1)
		fn(ctx, v, func(err error) {
			select {
			case answer <- err:
			default: // answered already
			}
		})
		return <-answer
	}
}
