// Package middleware has middleware for the handlers of consumers: [Log], [Timeout], [AutoTouch],
// [Only] and [Recover]. All of it is optional: without any, a consumer recovers from panics,
// retries, and reports to its telemetry.
//
//	nsqx.WithMiddleware(
//		middleware.Log(logger),
//		middleware.Timeout(5*time.Minute),
//		middleware.AutoTouch(),
//		middleware.Only(isLarge, limitLarge),
//	)
//
// # Which one
//
//   - [Log] writes a record for each message that was handled.
//   - [Timeout] limits how long a handler may take.
//   - [AutoTouch] lets a handler take longer than the message timeout.
//   - [Only] applies another middleware to some messages.
//   - [Recover] turns a panic into an error where other middleware must not see it.
//   - [LogBatch], [TimeoutBatch] and [RecoverBatch] are for handlers of batches.
//
// # Five things to know
//
// Order matters. The first is the outermost: it sees a message first and the result last. Log
// comes first, so that its records include the time and the errors of the others.
//
// Middleware sees the payload undecoded, so one value serves any number of consumers, of all
// types. For what needs the decoded value see [handler.Wrap].
//
// A limit ends the context, not the handler. A handler that ignores its context keeps running,
// and keeps its message.
//
// Timeout limits the handler, AutoTouch extends the message timeout. Use both: without a Timeout,
// a handler that hangs is touched until nsqd's max-msg-timeout.
//
// Writing your own takes a function: see [handler.Middleware], which states the contract.
package middleware
