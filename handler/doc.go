// Package handler defines what a service implements and what it gets: the function that handles
// a message ([Func], [Raw]), the [Message] and its context, and middleware around both
// consuming ([Middleware]) and publishing ([SendMiddleware]).
//
// A service needs little of it: a func(ctx, T) error, and [FromContext] where it reads metadata
// such as topic, attempts or headers. The types matter to authors of middleware, and [Delivery],
// [Source] and [Read] to those who make and settle messages: connections, consumers, test kits.
//
//	func bill(ctx context.Context, o Order) error {
//		m := handler.FromContext(ctx)
//		slog.InfoContext(ctx, "billing", "order", o.ID, "message", m)
//		…
//	}
//
// # Five things to know
//
// The result is the answer. nil finishes the message; an error requeues it, after a delay that
// the retry policy computes; package retry has errors that ask for something else. A panic
// counts as an error. The consumer answers nsqd after the handler and all middleware have
// returned.
//
// The context is the message's own. It carries the values of the context that Run got, but not
// its cancellation, which starts the shutdown: running handlers may finish. It ends when an
// answer could no longer reach nsqd in time ([ErrMessageTimeout]), when the connection is lost
// ([ErrConnLost]), or when the shutdown timeout has passed ([ErrShutdown]); [context.Cause] says
// which. [Message.Touch] asks for more time.
//
// The body is valid until the message is settled. Then its memory is used again. A codec copies
// what it keeps; other code clones (bytes.Clone).
//
// Delivery is at least once. A message may come again, also after its handler has succeeded. An
// [ID] does not identify it: deduplicate by a key in the payload or in a header.
//
// Headers are input. They travel in an envelope in front of the payload (package envelope), which
// is taken off before decoding. Everybody who can publish to the topic can set them.
// [WithHeader] and [Forward] add headers to what is published.
package handler
