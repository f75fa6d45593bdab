package nsqotel

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// extract returns ctx with the trace in the headers of m, and the span context of the producer,
// which may be invalid.
func (t *telemetry) extract(ctx context.Context, m *handler.Message) (context.Context, trace.SpanContext) {
	if !envelope.Is(m.RawBody()) { // most messages
		return ctx, trace.SpanContext{}
	}
	ctx = t.propagator.Extract(ctx, (*incoming)(m))
	producer := trace.SpanContextFromContext(ctx)
	if !producer.IsRemote() { // the span of ctx, not of a producer
		return ctx, trace.SpanContext{}
	}
	return ctx, producer
}

// incoming is a carrier of a trace: the headers of a received message.
type incoming handler.Message

func (m *incoming) Get(key string) string { return (*handler.Message)(m).Header(key) }

// Set does nothing: received messages do not change.
func (m *incoming) Set(string, string) {}

func (m *incoming) Keys() (keys []string) {
	for key := range (*handler.Message)(m).Headers() {
		keys = append(keys, key)
	}
	return keys
}

// outgoing is a carrier of a trace: the headers of a publish.
type outgoing handler.Outgoing

func (o *outgoing) Get(key string) string {
	value, _ := o.Headers.Get(key)
	return value
}

// Set ignores what a header cannot hold: telemetry must not fail a publish.
func (o *outgoing) Set(key, value string) { _ = o.Headers.Set(key, value) }

func (o *outgoing) Keys() (keys []string) {
	for key := range o.Headers.All() {
		keys = append(keys, key)
	}
	return keys
}
