package nsqotel_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
	nsqotel "github.com/nsqx/nsqx/otel"
)

// Tests of names.go and instruments.go.

var update = flag.Bool("update", false, "write testdata/names.txt")

// TestNames compares all exported names, units, bounds and keys with a golden file: dashboards and
// alerts depend on them.
func TestNames(t *testing.T) {
	var got string
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nsqotel.WithServerAddress(), nsqotel.WithQueueDuration())
		everything(t, k)
		got = exported(k)
	})
	const golden = "testdata/names.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("exported names differ from %s (go test -update writes it):\n%s", golden, got)
	}
}

// everything causes every span and metric.
func everything(t *testing.T, k *kit) {
	srv := nsqxtest.NewServer(t)
	answers := map[string]error{"requeue": errBill}
	c := k.consumer(func(ctx context.Context, v string) error {
		if v == "touch" {
			return handler.FromContext(ctx).Touch()
		}
		return answers[v]
	}, srv.Option(), nsqx.WithConn(conn.Config{ClientID: "billing-1"}))
	nsqxtest.Run(t, c)
	srv.Publish("orders", []byte(`"touch"`), []byte(`"requeue"`))
	srv.PublishMessage("orders", []byte(`"finish"`), nsqxtest.WithAttempts(2))
	srv.Await("orders", "billing", func(s nsqxtest.ChannelStats) bool { return s.Finished == 2 })
	synctest.Wait()

	ctx := context.Background()
	ok := func(_ context.Context, out *handler.Outgoing) error { out.NSQD = nsqd1; return nil }
	_ = k.publish(ctx, &handler.Outgoing{Topic: "orders", Messages: messages(2)}, ok)
	_ = k.publish(ctx, &handler.Outgoing{Topic: "orders", Messages: messages(1), Delay: time.Second}, ok)
	_ = k.publish(ctx, &handler.Outgoing{Topic: "orders", Messages: messages(1)}, func(context.Context, *handler.Outgoing) error { return errBill })
	k.Telemetry.ObservePublisher(func() nsqx.PublisherStats {
		return nsqx.PublisherStats{EnvelopesSkipped: 1}
	})

	event := observe.ConnEvent{NSQD: nsqd1, Topic: "orders", Channel: "billing", Err: protocolError(t, "E_BAD_TOPIC")}
	k.Telemetry.Hooks().OnDialError(event)
	k.Telemetry.Hooks().OnDisconnect(event)
	k.Telemetry.Hooks().OnLookup(observe.LookupEvent{Source: "lookupd-1:4161", Topic: "orders", Channel: "billing", Found: 1})
	k.Telemetry.Hooks().OnLookup(observe.LookupEvent{Source: "lookupd-1:4161", Topic: "orders", Channel: "billing", Err: errBill})

	k.Observe(func() nsqx.Stats {
		return nsqx.Stats{Topic: "orders", Channel: "billing", Lookups: []observe.LookupStats{{Name: "lookupd-1:4161", LastGood: time.Now()}}}
	})
}

// exported lists what the providers have received.
func exported(k *kit) string {
	var b strings.Builder
	spans := make(map[string]map[string]bool)
	for _, s := range k.spans.Ended() {
		name := fmt.Sprintf("span %s (%s)", s.Name(), s.SpanKind())
		if spans[name] == nil {
			spans[name] = make(map[string]bool)
		}
		addKeys(spans[name], s.Attributes())
		scope := s.InstrumentationScope()
		spans[fmt.Sprintf("scope %s %s %s", scope.Name, scope.Version, scope.SchemaURL)] = nil
	}
	list(&b, spans)
	metrics := make(map[string]map[string]bool)
	for _, m := range k.collect() {
		kind, sets := shape(m.Data)
		name := fmt.Sprintf("metric %s %s %s", m.Name, m.Unit, kind)
		metrics[name] = make(map[string]bool)
		for _, set := range sets {
			addKeys(metrics[name], set.ToSlice())
		}
	}
	list(&b, metrics)
	return b.String()
}

func addKeys(keys map[string]bool, attrs []attribute.KeyValue) {
	for _, kv := range attrs {
		keys[string(kv.Key)] = true
	}
}

func list(b *strings.Builder, keys map[string]map[string]bool) {
	for _, name := range sorted(keys) {
		fmt.Fprintln(b, name)
		for _, key := range sorted(keys[name]) {
			fmt.Fprintln(b, "   ", key)
		}
	}
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// shape returns the kind of a metric and its sets of attributes.
func shape(data metricdata.Aggregation) (kind string, sets []attribute.Set) {
	switch data := data.(type) {
	case metricdata.Sum[int64]:
		kind = "up-down counter"
		if data.IsMonotonic {
			kind = "counter"
		}
		for _, p := range data.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Gauge[int64]:
		kind = "gauge"
		for _, p := range data.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Gauge[float64]:
		kind = "gauge"
		for _, p := range data.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Histogram[float64]:
		kind = fmt.Sprintf("histogram %v", data.DataPoints[0].Bounds)
		for _, p := range data.DataPoints {
			sets = append(sets, p.Attributes)
		}
	default:
		kind = fmt.Sprintf("%T", data)
	}
	return kind, sets
}
