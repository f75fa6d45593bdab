// Package handler holds what a message meets on its way through a service:
// the [Message] itself, the context it is handled under, the function that
// handles it ([Func], [Raw]), what wraps that function ([Middleware]), and
// what becomes of the message in the end ([Outcome]).
//
// A service writes a func(ctx, T) error and reads metadata, where it needs
// any, with [FromContext]:
//
//	func bill(ctx context.Context, o Order) error {
//		m := handler.FromContext(ctx)
//		slog.InfoContext(ctx, "billing", "order", o.ID, "message", m)
//		…
//	}
//
// The context of a handler is the message's own. It carries the values of the
// context that the consumer runs under, but not its cancellation: that one
// starts the drain, and running handlers may finish. It ends when an answer
// could no longer reach nsqd in time, when the connection is lost, or when a
// shutdown runs out of patience; [context.Cause] says which
// ([ErrMessageTimeout], [ErrConnLost], [ErrShutdown]).
package handler
