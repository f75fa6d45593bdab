package nsqotel_test

import (
	"context"
	"fmt"
	"log"
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
	"github.com/nsqx/nsqx/nsqxtest"
	nsqotel "github.com/nsqx/nsqx/otel"
)

// Each process span starts a new trace, with a link to the producer's span.
func ExampleWithLinkOnly() {
	spans := tracetest.NewSpanRecorder()
	consumer, err := nsqx.NewConsumer("orders", "billing", codec.JSON[string](),
		func(context.Context, string) error { return nil },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithTelemetry(nsqotel.New(
			nsqotel.WithTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans))),
			nsqotel.WithPropagators(propagation.TraceContext{}),
			nsqotel.WithLinkOnly(),
		)),
	)
	if err != nil {
		log.Fatal(err)
	}
	var headers envelope.Writer // as the producer sends them
	_ = headers.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	m := nsqxtest.Message(headers.AppendTo(nil, []byte(`"7"`)))
	consumer.Process(m.Context(), m)

	for _, span := range spans.Ended() {
		fmt.Println("has a parent:", span.Parent().IsValid())
		fmt.Println("linked to the trace", span.Links()[0].SpanContext.TraceID())
	}
	// Output:
	// has a parent: false
	// linked to the trace 0af7651916cd43dd8448eb211c80319c
}

// Spans of retries only: first attempts are many, and rarely of interest.
func ExampleWithFilter() {
	spans := tracetest.NewSpanRecorder()
	consumer, err := nsqx.NewConsumer("orders", "billing", codec.JSON[string](),
		func(context.Context, string) error { return nil },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithTelemetry(nsqotel.New(
			nsqotel.WithTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans))),
			nsqotel.WithFilter(func(_ context.Context, op nsqotel.Operation) bool {
				return op.Message == nil || op.Message.Attempts > 1
			}),
		)),
	)
	if err != nil {
		log.Fatal(err)
	}
	for attempt := range uint16(3) {
		m := nsqxtest.Message([]byte(`"7"`), nsqxtest.WithAttempts(attempt+1))
		consumer.Process(m.Context(), m)
	}
	fmt.Println(len(spans.Ended()), "spans")
	// Output:
	// 2 spans
}

// Topics that come and go share a name, so that they do not flood a backend.
func ExampleWithDestinationTemplate() {
	spans := tracetest.NewSpanRecorder()
	tel := nsqotel.New(
		nsqotel.WithTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans))),
		nsqotel.WithDestinationTemplate(func(topic string) string {
			if strings.HasPrefix(topic, "chat.") {
				return "chat.<room>"
			}
			return ""
		}),
		nsqotel.WithSpanAttributes(attribute.String("team", "chat")),
	)
	for _, topic := range []string{"chat.7#ephemeral", "orders"} {
		consumer, err := nsqx.NewConsumer(topic, "billing", codec.JSON[string](),
			func(context.Context, string) error { return nil },
			nsqx.WithNSQD("127.0.0.1:4150"),
			nsqx.WithTelemetry(tel),
		)
		if err != nil {
			log.Fatal(err)
		}
		m := nsqxtest.Message([]byte(`"hello"`))
		consumer.Process(m.Context(), m)
	}
	for _, span := range spans.Ended() {
		fmt.Println(span.Name())
	}
	// Output:
	// process chat.<room>
	// process orders
}

// Metrics go to any reader. A service has a reader that exports them.
func ExampleWithMeterProvider() {
	reader := metric.NewManualReader()
	consumer, err := nsqx.NewConsumer("orders", "billing", codec.JSON[string](),
		func(context.Context, string) error { return nil },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithTelemetry(nsqotel.New(
			nsqotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))),
			nsqotel.WithMetricAttributes(attribute.String("zone", "a")),
		)),
	)
	if err != nil {
		log.Fatal(err)
	}
	m := nsqxtest.Message([]byte(`"7"`))
	consumer.Process(m.Context(), m)

	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		log.Fatal(err)
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
