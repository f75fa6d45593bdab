package nsqxtest

import (
	"context"
	"fmt"
	"testing"

	"github.com/nsqx/nsqx/handler"
)

// Processor is what [Deliver] needs of a consumer. Every *nsqx.Consumer implements it.
type Processor interface {
	Process(ctx context.Context, m *handler.Message) handler.Outcome
}

// Deliver passes a message to a consumer built for production, with codec, middleware, retry
// policy and dead letter, and returns the outcome: what nsqd would hear.
//
// Deliver needs no nsqd, except for a message whose dead letter goes to a topic. For that, give
// the consumer the [Option] of a [Server] and look at the topic with [Received].
//
// The consumer need not run and keeps no state of the message. Deliver may be called any number of
// times, also concurrently.
func Deliver(tb testing.TB, consumer Processor, body []byte, opts ...MessageOption) handler.Outcome {
	tb.Helper()
	m := newTestMessage(tb, body, opts)
	defer (*handler.Delivery)(m).Release()
	return consumer.Process(m.Context(), m)
}

// BatchProcessor is what [DeliverBatch] needs of a consumer. Every *nsqx.Consumer implements it.
type BatchProcessor interface {
	ProcessBatch(ctx context.Context, msgs []*handler.Message)
}

// DeliverBatch is [Deliver] for several messages, which the handler of a consumer made by
// nsqx.NewBatchConsumer gets together. It returns the outcome of each. opts are for all messages;
// their ids count from 1.
func DeliverBatch(tb testing.TB, consumer BatchProcessor, bodies [][]byte, opts ...MessageOption) []handler.Outcome {
	tb.Helper()
	msgs := make([]*handler.Message, len(bodies))
	for i, body := range bodies {
		id := handler.ID(fmt.Appendf(nil, "%016x", i+1))
		msgs[i] = newTestMessage(tb, body, append([]MessageOption{WithID(id)}, opts...))
		defer (*handler.Delivery)(msgs[i]).Release()
	}
	if len(msgs) > 0 {
		ctx := newMessageConfig(append([]MessageOption{WithContext(tb.Context())}, opts...)).ctx
		consumer.ProcessBatch(ctx, msgs)
	}
	outcomes := make([]handler.Outcome, len(msgs))
	for i, m := range msgs {
		outcomes[i] = m.Outcome()
	}
	return outcomes
}

// Handle calls a handler with v and the context of a message: [handler.FromContext] returns the
// message, and the context ends just before the message timeout, as in production.
func Handle[T any](tb testing.TB, fn handler.Func[T], v T, opts ...MessageOption) error {
	tb.Helper()
	m := newTestMessage(tb, nil, opts)
	defer (*handler.Delivery)(m).Release()
	return fn(m.Context(), v)
}

// newTestMessage is Message with the context of the test.
func newTestMessage(tb testing.TB, body []byte, opts []MessageOption) *handler.Message {
	return Message(body, append([]MessageOption{WithContext(tb.Context())}, opts...)...)
}
