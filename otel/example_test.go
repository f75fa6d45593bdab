package nsqotel_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	nsqotel "github.com/nsqx/nsqx/otel"
)

// recording returns a provider whose spans can be looked at. A service uses one with an exporter.
func recording() (*trace.TracerProvider, *tracetest.SpanRecorder) {
	spans := tracetest.NewSpanRecorder()
	return trace.NewTracerProvider(trace.WithSpanProcessor(spans)), spans
}

// newConsumer makes a consumer of a topic that succeeds always.
func newConsumer(topic string, tel nsqx.Telemetry) *nsqx.Consumer[string] {
	c, err := nsqx.NewConsumer(topic, "billing", codec.JSON[string](),
		func(context.Context, string) error { return nil },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithTelemetry(tel),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		panic(err)
	}
	return c
}

// received is a message whose producer had a span.
func received() *handler.Message {
	var headers envelope.Writer
	_ = headers.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	return nsqxtest.Message(headers.AppendTo(nil, []byte(`"7"`)))
}

// A message takes the trace of its producer along.
func ExampleNew() {
	tracers, spans := recording()
	tel := nsqotel.New(
		nsqotel.WithTracerProvider(tracers),
		nsqotel.WithPropagators(propagation.TraceContext{}),
	)
	m := received()
	newConsumer("orders", tel).Process(m.Context(), m)

	for _, span := range spans.Ended() {
		fmt.Println(span.Name(), "in the trace", span.Parent().TraceID())
	}
	// Output:
	// process orders in the trace 0af7651916cd43dd8448eb211c80319c
}

func ExampleWithLinkOnly() {
	tracers, spans := recording()
	tel := nsqotel.New(
		nsqotel.WithTracerProvider(tracers),
		nsqotel.WithPropagators(propagation.TraceContext{}),
		nsqotel.WithLinkOnly(),
	)
	m := received()
	newConsumer("orders", tel).Process(m.Context(), m)

	for _, span := range spans.Ended() {
		fmt.Println("has a parent:", span.Parent().IsValid())
		fmt.Println("linked to the trace", span.Links()[0].SpanContext.TraceID())
	}
	// Output:
	// has a parent: false
	// linked to the trace 0af7651916cd43dd8448eb211c80319c
}

// Spans of retries only: the first attempts are many, and rarely of interest.
func ExampleWithFilter() {
	tracers, spans := recording()
	tel := nsqotel.New(
		nsqotel.WithTracerProvider(tracers),
		nsqotel.WithFilter(func(_ context.Context, op nsqotel.Operation) bool {
			return op.Message == nil || op.Message.Attempts > 1
		}),
	)
	c := newConsumer("orders", tel)
	for attempt := range uint16(3) {
		m := nsqxtest.Message([]byte(`"7"`), nsqxtest.WithAttempts(attempt+1))
		c.Process(m.Context(), m)
	}
	fmt.Println(len(spans.Ended()), "spans")
	// Output:
	// 2 spans
}

// Topics that come and go share a name, so that they do not flood a backend.
func ExampleWithDestinationTemplate() {
	tracers, spans := recording()
	tel := nsqotel.New(
		nsqotel.WithTracerProvider(tracers),
		nsqotel.WithDestinationTemplate(func(topic string) string {
			if strings.HasPrefix(topic, "chat.") {
				return "chat.<room>"
			}
			return ""
		}),
		nsqotel.WithSpanAttributes(attribute.String("team", "chat")),
	)
	for _, topic := range []string{"chat.7#ephemeral", "orders"} {
		m := nsqxtest.Message([]byte(`"hello"`))
		newConsumer(topic, tel).Process(m.Context(), m)
	}
	for _, span := range spans.Ended() {
		fmt.Println(span.Name())
	}
	// Output:
	// process chat.<room>
	// process orders
}

// Metrics go to any reader; a service has one that exports them.
func ExampleWithMeterProvider() {
	reader := metric.NewManualReader()
	tel := nsqotel.New(
		nsqotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))),
		nsqotel.WithMetricAttributes(attribute.String("zone", "a")),
	)
	m := nsqxtest.Message([]byte(`"7"`))
	newConsumer("orders", tel).Process(m.Context(), m)

	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range all.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
			for _, p := range sum.DataPoints {
				disposition, _ := p.Attributes.Value("messaging.nsq.message.disposition")
				zone, _ := p.Attributes.Value("zone")
				fmt.Printf("%s zone=%s disposition=%q: %d\n", m.Name, zone.AsString(), disposition.AsString(), p.Value)
			}
		}
	}
	// Output:
	// messaging.client.consumed.messages zone=a disposition="": 1
	// nsq.consumer.settlements zone=a disposition="finish": 1
}
