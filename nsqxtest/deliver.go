package nsqxtest

import (
	"context"
	"testing"

	"github.com/nsqx/nsqx/handler"
)

// Processor is what [Deliver] needs of a consumer: every *nsqx.Consumer has it.
type Processor interface {
	Process(ctx context.Context, m *handler.Message) handler.Outcome
}

// Deliver hands a message to a consumer as it is built for production, with codec, middleware, retry policy and dead letter,
// and returns what nsqd would hear. No nsqd is needed, unless the message is given up and the dead letter is a topic: then
// it is published, so give the consumer the [Option] of a [Server] and look there with [Received].
//
// The consumer need not run, and is not changed by it: any number of messages may be delivered, concurrently too.
func Deliver(tb testing.TB, consumer Processor, body []byte, opts ...MessageOption) handler.Outcome {
	tb.Helper()
	m := newTestMessage(tb, body, opts)
	defer (*handler.Delivery)(m).Release()
	return consumer.Process(m.Context(), m)
}

// Handle calls a handler with v, under the context of a message: [handler.FromContext] finds it there, and it ends as in
// production, just before the message timeout.
func Handle[T any](tb testing.TB, fn handler.Func[T], v T, opts ...MessageOption) error {
	tb.Helper()
	m := newTestMessage(tb, nil, opts)
	defer (*handler.Delivery)(m).Release()
	return fn(m.Context(), v)
}

// newTestMessage is Message under the test's context.
func newTestMessage(tb testing.TB, body []byte, opts []MessageOption) *handler.Message {
	return Message(body, append([]MessageOption{WithContext(tb.Context())}, opts...)...)
}
