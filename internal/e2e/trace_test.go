package e2e

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	nsqotel "github.com/nsqx/nsqx/otel"
	"github.com/nsqx/nsqx/retry"
)

// traced is a telemetry option and a recorder of its spans.
type traced struct {
	nsqx.Option
	t     *testing.T
	spans *tracetest.SpanRecorder
}

func newTraced(t *testing.T, opts ...nsqotel.Option) *traced {
	spans := tracetest.NewSpanRecorder()
	opts = append(opts,
		nsqotel.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))),
		nsqotel.WithMeterProvider(metricnoop.NewMeterProvider()),
		nsqotel.WithPropagators(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})))
	return &traced{nsqx.WithTelemetry(nsqotel.New(opts...)), t, spans}
}

// span waits for the nth span of a name, from 0, in the order of their starts.
func (tr *traced) span(name string, n int) sdktrace.ReadOnlySpan {
	tr.t.Helper()
	var found []sdktrace.ReadOnlySpan
	eventually(tr.t, func() bool {
		found = slices.DeleteFunc(tr.spans.Ended(), func(s sdktrace.ReadOnlySpan) bool { return s.Name() != name })
		return len(found) > n
	}, "%d spans %q", n+1, name)
	slices.SortFunc(found, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	return found[n]
}

// wantParent checks the parent of s, nil for none, and its link, nil for none.
func (tr *traced) wantParent(s, parent, link sdktrace.ReadOnlySpan) {
	tr.t.Helper()
	switch {
	case parent == nil && s.Parent().IsValid():
		tr.t.Errorf("%s has a parent", s.Name())
	case parent != nil && (s.Parent().SpanID() != parent.SpanContext().SpanID() || s.SpanContext().TraceID() != parent.SpanContext().TraceID()):
		tr.t.Errorf("%s is no child of %s", s.Name(), parent.Name())
	}
	var linked []trace.SpanID
	for _, l := range s.Links() {
		linked = append(linked, l.SpanContext.SpanID())
	}
	var want []trace.SpanID
	if link != nil {
		want = append(want, link.SpanContext().SpanID())
	}
	if !slices.Equal(linked, want) {
		tr.t.Errorf("%s is linked to %v, want %v", s.Name(), linked, want)
	}
}

func (tr *traced) wantAttribute(s sdktrace.ReadOnlySpan, key attribute.Key, want string) {
	tr.t.Helper()
	for _, kv := range s.Attributes() {
		if kv.Key == key {
			if got := kv.Value.String(); got != want {
				tr.t.Errorf("%s of %s is %q, want %q", key, s.Name(), got, want)
			}
			return
		}
	}
	tr.t.Errorf("%s has no %s", s.Name(), key)
}

// TestOneTrace: publish, handler and dead letter are in one trace, through nsqd. A redriven message
// is in its original trace again.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	for name, linkOnly := range map[string]bool{"children": false, "links only": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t)
			at := nsqx.WithNSQD(s.Addr())
			var telemetryOpts []nsqotel.Option
			if linkOnly {
				telemetryOpts = append(telemetryOpts, nsqotel.WithLinkOnly())
			}
			tr := newTraced(t, telemetryOpts...)
			var failing atomic.Bool
			failing.Store(true)
			seen := make(chan trace.SpanContext, 4) // by the handler
			c := newConsumer(t, func(ctx context.Context, body string) error {
				seen <- trace.SpanContextFromContext(ctx)
				if failing.Load() {
					return retry.Permanent(errFailed)
				}
				return nil
			}, at, tr, nsqx.WithDeadLetter("orders.dead"))
			s.EnsureChannel(topic, channel)
			r := start(t, c)
			p := newProducer(t, topic, at, tr, nsqx.WithEnvelope())
			must(t, p.Publish(t.Context(), "7"))
			finished(t, s, c, 1)

			published, processed, dead := tr.span("publish orders", 0), tr.span("process orders", 0), tr.span("publish orders.dead", 0)
			parent := published
			if linkOnly {
				parent = nil
			}
			tr.wantParent(published, nil, nil)
			tr.wantParent(processed, parent, published)
			tr.wantParent(dead, processed, nil)
			if got := receive(t, seen, "the handler"); !got.Equal(processed.SpanContext()) {
				t.Errorf("the handler is in %v, want %v", got, processed.SpanContext())
			}
			kinds := []trace.SpanKind{published.SpanKind(), processed.SpanKind(), dead.SpanKind()}
			if !slices.Equal(kinds, []trace.SpanKind{trace.SpanKindProducer, trace.SpanKindConsumer, trace.SpanKindProducer}) {
				t.Errorf("kinds %v", kinds)
			}
			tr.wantAttribute(processed, "messaging.nsq.message.disposition", "dead_letter")
			tr.wantAttribute(dead, "messaging.destination.name", "orders.dead")
			if processed.Status().Code != codes.Error || dead.Status().Code != codes.Unset {
				t.Errorf("status of the process span %v, of the dead letter %v", processed.Status(), dead.Status())
			}

			failing.Store(false)
			report, err := nsqx.Redrive(t.Context(), "orders.dead", "", at, tr, nsqx.WithRedriveIdle(redriveIdle), nsqx.WithRedriveHTTP(s.Addr(), s.HTTPAddr()))
			if err != nil || report.Redriven != 1 {
				t.Fatalf("Redrive: %+v, %v", report, err)
			}
			finished(t, s, c, 2)
			letter, redriven, again := tr.span("process orders.dead", 0), tr.span("publish orders", 1), tr.span("process orders", 1)
			parent = dead
			if linkOnly {
				parent = nil
			}
			tr.wantParent(letter, parent, dead)
			tr.wantParent(redriven, letter, nil)
			if parent != nil {
				parent = published
			}
			tr.wantParent(again, parent, published) // as before the dead letter
			if got := receive(t, seen, "the handler"); !got.Equal(again.SpanContext()) {
				t.Errorf("the handler is in %v, want %v", got, again.SpanContext())
			}
			tr.wantAttribute(again, "messaging.nsq.message.disposition", "finish")
			r.mustStop()
		})
	}
}
