package handler

import "context"

// RawBatch handles several messages of one topic and channel together, before they are decoded.
// There is at least one, and each has a context of its own: [Message.Context]. ctx is that of
// the batch.
//
// nil finishes the messages. An error is the answer of every message that has none of its own:
// it is treated as if [Raw] had returned it for each of them.
type RawBatch func(ctx context.Context, msgs []*Message) error

// BatchMiddleware wraps a RawBatch, as [Middleware] wraps a [Raw]. It is called once, when the
// consumer is built. The RawBatch it returns is called concurrently, once for each batch, and
// must call next at most once.
//
// It may pass on fewer messages, or [Message.WithBody] of some. It must not keep msgs. Its own
// result counts for all messages that it got.
type BatchMiddleware func(next RawBatch) RawBatch

// ChainBatch combines several BatchMiddleware into one. The first is the outermost: it sees a
// batch first and the result last. nil is skipped; ChainBatch() changes nothing. A BatchMiddleware that
// returns nil panics.
func ChainBatch(mw ...BatchMiddleware) BatchMiddleware {
	return func(next RawBatch) RawBatch { return wrap(next, mw) }
}
