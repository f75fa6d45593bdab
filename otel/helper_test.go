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
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/wire"
	"github.com/nsqx/nsqx/observe"
	nsqotel "github.com/nsqx/nsqx/otel"
)

const nsqd1 = "nsqd-1:4150"

var (
	errBill = errors.New("no credit")
	discard = slog.New(slog.DiscardHandler)
)

// kit is a telemetry with its own providers, and their records.
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

// consumer makes a consumer of orders/billing with telemetry k.
func (k *kit) consumer(fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	k.t.Helper()
	opts = append([]nsqx.ConsumerOption{nsqx.WithNSQD(nsqd1), nsqx.WithLogger(discard), nsqx.WithTelemetry(k.Telemetry)}, opts...)
	c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[string](), fn, opts...)
	if err != nil {
		k.t.Fatal(err)
	}
	return c
}

// publish calls send through the middleware of k.
func (k *kit) publish(ctx context.Context, out *handler.Outgoing, send handler.Send) error {
	return k.Producer(observe.ProducerInfo{Topic: out.Topic, ClientID: "web-1"})(send)(ctx, out)
}

// span returns the only ended span.
func (k *kit) span() trace.ReadOnlySpan {
	k.t.Helper()
	ended := k.spans.Ended()
	if len(ended) != 1 {
		k.t.Fatalf("%d spans have ended, want 1", len(ended))
	}
	return ended[0]
}

// wantAttributes compares the attributes of a span as text, without the message id.
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

// points returns the values of a metric as text, one a line: a number, or count and sum of a
// histogram, and the attributes without system, topic and channel.
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
	case metricdata.Gauge[float64]:
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

// nowhere is a source of messages with an address.
type nowhere struct {
	handler.Source
	addr string
}

func (n nowhere) NSQD() string          { return n.addr }
func (n nowhere) Terms() *handler.Terms { return &handler.Terms{} }

const common = "messaging.destination.name=orders messaging.destination.subscription.name=billing"

const (
	producerTrace = "0af7651916cd43dd8448eb211c80319c"
	producerSpan  = "b7ad6b7169203331"
)

// traced returns a body with the headers of a producer's span.
func traced(t *testing.T, payload string) []byte {
	t.Helper()
	var w envelope.Writer
	for key, value := range map[string]string{"traceparent": "00-" + producerTrace + "-" + producerSpan + "-01", "baggage": "tenant=7"} {
		if err := w.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	return w.AppendTo(nil, []byte(payload))
}

// protocolError returns an error frame of nsqd as a connection wraps it.
func protocolError(t *testing.T, text string) error {
	t.Helper()
	return &conn.Error{Addr: nsqd1, Phase: conn.PhaseStream, Err: wire.ParseError([]byte(text))}
}

var consumerInfo = observe.ConsumerInfo{Topic: "orders", Channel: "billing", ClientID: "billing-1"}

func stats(inFlight int) nsqx.Stats {
	connected := func(addr string, n int, touched, drifted uint64) observe.ConnStats {
		return observe.ConnStats{
			Stats:     conn.Stats{Addr: addr, InFlight: n, RDY: 2 * n, Touched: touched, Allowance: int(drifted), Drifted: drifted},
			Connected: n > 0,
		}
	}
	return nsqx.Stats{
		Topic: "orders", Channel: "billing", Concurrency: 8, MaxInFlight: 10, Running: 3, BackoffLevel: 3, Expired: 4, DeadLettered: 6,
		Connections: []observe.ConnStats{connected("nsqd-1:4150", inFlight, 2, 2), connected("nsqd-2:4150", 1, 5, 1), connected("nsqd-3:4150", 0, 0, 0)},
	}
}
