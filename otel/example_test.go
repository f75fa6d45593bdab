package nsqotel_test

import (
	"context"
	"fmt"
	"log"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/nsqxtest"
	nsqotel "github.com/nsqx/nsqx/otel"
)

type Order struct{ ID int }

// bill is the handler of the service. Its context has the span of the message.
func bill(ctx context.Context, o Order) error {
	fmt.Printf("order %d, trace %s\n", o.ID, oteltrace.SpanContextFromContext(ctx).TraceID())
	return nil
}

// A consumer with spans and metrics. The trace of the message comes from its producer.
func Example() {
	// A service has exporters in place of the recorder and the reader.
	spans := tracetest.NewSpanRecorder()
	reader := metric.NewManualReader()
	tel := nsqotel.New(
		nsqotel.WithTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans))),
		nsqotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))),
		nsqotel.WithPropagators(propagation.TraceContext{}),
	)
	consumer, err := nsqx.NewConsumer("orders", "billing", codec.JSON[Order](), bill,
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithTelemetry(tel),
	)
	if err != nil {
		log.Fatal(err)
	}

	// A service calls consumer.Run. Here one message takes the place of nsqd. A producer with
	// WithTelemetry and WithEnvelope sends such headers.
	var headers envelope.Writer
	if err := headers.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"); err != nil {
		log.Fatal(err)
	}
	m := nsqxtest.Message(headers.AppendTo(nil, []byte(`{"ID": 7}`)))
	consumer.Process(m.Context(), m)

	for _, span := range spans.Ended() {
		fmt.Printf("span %q, child of %s\n", span.Name(), span.Parent().SpanID())
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		log.Fatal(err)
	}
	for _, m := range all.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
			fmt.Println("metric", m.Name, sum.DataPoints[0].Value)
		}
	}
	// Output:
	// order 7, trace 0af7651916cd43dd8448eb211c80319c
	// span "process orders", child of b7ad6b7169203331
	// metric messaging.client.consumed.messages 1
	// metric nsq.consumer.settlements 1
}
