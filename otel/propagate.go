package nsqotel

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// extract returns ctx with what the headers of m carry, and the context of the
// producer's span, which may be none.
func (t *telemetry) extract(ctx context.Context, m *handler.Message) (context.Context, trace.SpanContext) {
	if !envelope.Is(m.RawBody()) { // almost every message
		return ctx, trace.SpanContext{}
	}
	ctx = t.propagator.Extract(ctx, (*incoming)(m))
	producer := trace.SpanContextFromContext(ctx)
	if !producer.IsRemote() { // it is the caller's own
		return ctx, trace.SpanContext{}
	}
	return ctx, producer
}

// incoming carries a trace in the headers of a message.
type incoming handler.Message

func (m *incoming) Get(key string) string { return (*handler.Message)(m).Header(key) }

// Set does nothing: a message does not change.
func (m *incoming) Set(string, string) {}

func (m *incoming) Keys() (keys []string) {
	for key := range (*handler.Message)(m).Headers() {
		keys = append(keys, key)
	}
	return keys
}

// outgoing carries a trace in the headers of a publish.
type outgoing handler.Outgoing

func (o *outgoing) Get(key string) string {
	value, _ := o.Headers.Get(key)
	return value
}

// Set leaves out what a header cannot carry: telemetry fails no publish.
func (o *outgoing) Set(key, value string) { _ = o.Headers.Set(key, value) }

func (o *outgoing) Keys() (keys []string) {
	for key := range o.Headers.All() {
		keys = append(keys, key)
	}
	return keys
}
