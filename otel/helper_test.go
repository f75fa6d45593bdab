package nsqotel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	nsqotel "github.com/nsqx/nsqx/otel"
)

const nsqd1 = "nsqd-1:4150"

var (
	errBill = errors.New("no credit")
	discard = slog.New(slog.DiscardHandler)
)

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// kit is a telemetry with providers of its own, and what came to them.
type kit struct {
	nsqx.Telemetry
	t       testing.TB
	spans   *tracetest.SpanRecorder
	tracers *trace.TracerProvider
	reader  *metric.ManualReader
	meters  *metric.MeterProvider
}

func propagators() propagation.TextMapPropagator {
	return propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
}

func newKit(t testing.TB, opts ...nsqotel.Option) *kit {
	k := &kit{t: t, spans: tracetest.NewSpanRecorder(), reader: metric.NewManualReader()}
	k.tracers = trace.NewTracerProvider(trace.WithSpanProcessor(k.spans))
	k.meters = metric.NewMeterProvider(metric.WithReader(k.reader))
	k.Telemetry = nsqotel.New(append([]nsqotel.Option{
		nsqotel.WithTracerProvider(k.tracers),
		nsqotel.WithMeterProvider(k.meters),
		nsqotel.WithPropagators(propagators()),
	}, opts...)...)
	return k
}

// consumer is a consumer of orders/billing that k observes.
func (k *kit) consumer(fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	k.t.Helper()
	opts = append([]nsqx.ConsumerOption{nsqx.WithNSQD(nsqd1), nsqx.WithLogger(discard), nsqx.WithTelemetry(k.Telemetry)}, opts...)
	c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[string](), fn, opts...)
	if err != nil {
		k.t.Fatal(err)
	}
	return c
}

// publish sends through k's middleware to send.
func (k *kit) publish(ctx context.Context, out *handler.Outgoing, send handler.Send) error {
	return k.Producer(nsqx.ProducerInfo{Topic: out.Topic, ClientID: "web-1"})(send)(ctx, out)
}

// span returns the only span that has ended.
func (k *kit) span() trace.ReadOnlySpan {
	k.t.Helper()
	ended := k.spans.Ended()
	if len(ended) != 1 {
		k.t.Fatalf("%d spans have ended, want 1", len(ended))
	}
	return ended[0]
}

// wantAttributes compares all attributes of a span, as text; the id of the message is left out.
func wantAttributes(t testing.TB, what string, attrs []attribute.KeyValue, want string) {
	t.Helper()
	var texts []string
	for _, kv := range attrs {
		if kv.Key != "messaging.message.id" {
			texts = append(texts, string(kv.Key)+"="+kv.Value.String())
		}
	}
	slices.Sort(texts)
	if got := strings.Join(texts, " "); got != want {
		t.Errorf("attributes of %s: got\n%s, want\n%s", what, got, want)
	}
}

// collect returns all metrics by name.
func (k *kit) collect() map[string]metricdata.Metrics {
	k.t.Helper()
	var all metricdata.ResourceMetrics
	if err := k.reader.Collect(context.Background(), &all); err != nil {
		k.t.Fatal(err)
	}
	byName := make(map[string]metricdata.Metrics)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			byName[m.Name] = m
		}
	}
	return byName
}

// points shows the values of a metric, one a line: a number, or of a histogram the count and the sum, and the attributes
// but for system, topic and channel.
func points(m metricdata.Metrics) string {
	var lines []string
	add := func(value any, set attribute.Set) {
		line := fmt.Sprint(value)
		for _, kv := range set.ToSlice() {
			if k := kv.Key; k != "messaging.system" && k != "messaging.destination.name" && k != "messaging.destination.subscription.name" {
				line += fmt.Sprintf(" %s=%s", kv.Key, kv.Value.String())
			}
		}
		lines = append(lines, line)
	}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			add(p.Value, p.Attributes)
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			add(p.Value, p.Attributes)
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			add(fmt.Sprintf("%d×, %v", p.Count, time.Duration(p.Sum*1e9).Round(time.Microsecond)), p.Attributes)
		}
	case nil:
		return "none"
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (k *kit) wantPoints(name, want string) {
	k.t.Helper()
	if got := points(k.collect()[name]); got != want {
		k.t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func sum(t *testing.T, m metricdata.Metrics) []metricdata.DataPoint[int64] {
	t.Helper()
	data, ok := m.Data.(metricdata.Sum[int64])
	if !ok {
		t.Fatalf("%q is a %T", m.Name, m.Data)
	}
	return data.DataPoints
}

// nowhere is a source of messages at any address.
type nowhere struct {
	handler.Source
	addr string
}

func (n nowhere) NSQD() string          { return n.addr }
func (n nowhere) Terms() *handler.Terms { return &handler.Terms{} }
