package nsqotel_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
	nsqotel "github.com/nsqx/nsqx/otel"
)

const published = "messaging.client.id=web-1 messaging.destination.name=orders "

func messages(n int) []handler.OutgoingMessage { return make([]handler.OutgoingMessage, n) }

func TestPublish(t *testing.T) {
	const kind = "messaging.operation.name=publish messaging.operation.type=send messaging.system=nsq server.address=nsqd-1 server.port=4150"
	tests := map[string]struct {
		out   handler.Outgoing
		attrs string
		sent  string
	}{
		"PUB":  {handler.Outgoing{Messages: messages(1)}, published + kind, "1"},
		"MPUB": {handler.Outgoing{Messages: messages(3)}, "messaging.batch.message_count=3 " + published + kind, "3"},
		"DPUB": {handler.Outgoing{Messages: messages(1), Delay: time.Second + 1}, published + "messaging.nsq.message.defer_ms=1001 " + kind, "1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKit(t)
				tt.out.Topic = "orders"
				err := k.publish(t.Context(), &tt.out, func(_ context.Context, out *handler.Outgoing) error {
					time.Sleep(time.Second)
					out.NSQD = nsqd1
					return nil
				})
				check.Want(t, "error", err, nil)
				check.Want(t, "name", k.span().Name(), "publish orders")
				check.Want(t, "kind", k.span().SpanKind(), trace.SpanKindProducer)
				check.Want(t, "status", k.span().Status().Code, codes.Unset)
				check.Want(t, "headers", tt.out.Headers.Len(), 0) // consumers may not read envelopes
				wantAttributes(t, "span", k.span().Attributes(), tt.attrs)
				k.wantPoints("messaging.client.sent.messages", tt.sent+" messaging.operation.name=publish")
				k.wantPoints("messaging.client.operation.duration", "1×, 1s messaging.operation.name=publish messaging.operation.type=send")
			})
		})
	}
}

// Messages that nsqd has confirmed count as sent, although the rest failed.
func TestPartOfABatch(t *testing.T) {
	k := newKit(t)
	_ = k.publish(t.Context(), &handler.Outgoing{Topic: "orders", Messages: messages(5)}, func(context.Context, *handler.Outgoing) error {
		return &nsqx.PublishError{Kind: nsqx.ErrUnconfirmed, Confirmed: 3, Err: context.Canceled}
	})
	k.wantPoints("messaging.client.sent.messages", "2 error.type=canceled messaging.operation.name=publish\n3 messaging.operation.name=publish")
}

// The address of the nsqd, as host and port or as a socket.
func TestServerAddress(t *testing.T) {
	for addr, attrs := range map[string]string{
		"nsqd-1:4150":         " server.address=nsqd-1 server.port=4150",
		"[::1]:4150":          " server.address=::1 server.port=4150",
		"nsqd-1:nsq":          " server.address=nsqd-1",
		"unix:///run/nsqd.so": " server.address=/run/nsqd.so",
		"nobody":              "",
		"":                    "",
	} {
		k := newKit(t, nsqotel.WithServerAddress())
		_ = k.publish(t.Context(), &handler.Outgoing{Topic: "orders", Messages: messages(1)}, func(_ context.Context, out *handler.Outgoing) error {
			out.NSQD = addr
			return nil
		})
		wantAttributes(t, "span", k.span().Attributes(), published+"messaging.operation.name=publish messaging.operation.type=send messaging.system=nsq"+attrs)
		k.wantPoints("messaging.client.sent.messages", "1 messaging.operation.name=publish"+attrs)
	}
}

// With an envelope the trace and baggage of the caller are sent, even without a span.
func TestInject(t *testing.T) {
	tests := map[string]struct {
		opts  []nsqotel.Option
		spans int
	}{
		"span": {spans: 1},
		"filtered": {opts: []nsqotel.Option{nsqotel.WithFilter(func(_ context.Context, op nsqotel.Operation) bool {
			return op.Topic != "orders" || op.Channel != "" || op.Outgoing == nil || op.Message != nil
		})}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, tt.opts...)
			ctx, outer := k.tracers.Tracer("").Start(t.Context(), "outer")
			member, _ := baggage.NewMember("tenant", "7")
			bag, _ := baggage.New(member)
			out := &handler.Outgoing{Topic: "orders", Messages: messages(1), Envelope: true}
			var inside trace.SpanContext
			_ = k.publish(baggage.ContextWithBaggage(ctx, bag), out, func(ctx context.Context, _ *handler.Outgoing) error {
				inside = trace.SpanContextFromContext(ctx)
				return nil
			})
			check.Want(t, "spans", len(k.spans.Ended()), tt.spans)
			check.Want(t, "trace", inside.TraceID(), outer.SpanContext().TraceID())
			check.Want(t, "span of its own", inside.SpanID() != outer.SpanContext().SpanID(), tt.spans == 1)
			parent, _ := out.Headers.Get("traceparent")
			check.Want(t, "traceparent", parent, "00-"+inside.TraceID().String()+"-"+inside.SpanID().String()+"-"+inside.TraceFlags().String())
			tenant, _ := out.Headers.Get("baggage")
			check.Want(t, "baggage", tenant, "tenant=7")
		})
	}
}

// The span ends, and the panic continues.
func TestPublishPanics(t *testing.T) {
	k := newKit(t)
	func() {
		defer func() { check.Want[any](t, "panic", recover(), "no") }()
		_ = k.publish(t.Context(), &handler.Outgoing{Topic: "orders", Messages: messages(1)}, func(context.Context, *handler.Outgoing) error { panic("no") })
	}()
	check.Want(t, "status", k.span().Status().Code, codes.Error)
	k.wantPoints("messaging.client.sent.messages", "1 error.type=panic messaging.operation.name=publish")
}

// One trace through an nsqd: publish, handler, publish of the dead letter.
func TestOneTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		srv := nsqxtest.NewServer(t)
		var inHandler trace.SpanContext
		nsqxtest.Run(t, k.consumer(func(ctx context.Context, _ string) error {
			inHandler = trace.SpanContextFromContext(ctx)
			return errBill
		}, srv.Option(), nsqx.WithMaxAttempts(1), nsqx.WithDeadLetter("orders.dead")))
		p, err := nsqx.NewProducer("orders", codec.JSON[string](), srv.Option(), nsqx.WithNSQD(nsqd1), nsqx.WithLogger(discard),
			nsqx.WithTelemetry(k.Telemetry), nsqx.WithEnvelope())
		if err != nil {
			t.Fatal(err)
		}
		ctx, outer := k.tracers.Tracer("").Start(t.Context(), "outer")
		check.Want(t, "publish", p.Publish(ctx, "7"), nil)
		nsqxtest.Received(t, srv, "orders.dead", codec.Bytes(), 1)
		pubs := srv.Commands("PUB")
		synctest.Wait()
		check.Want(t, "close", p.Shutdown(t.Context()), nil)

		parent := outer.SpanContext()
		names := []string{"publish orders", "process orders", "publish orders.dead"}
		spans := k.spans.Started()[1:]
		check.Want(t, "spans", len(spans), len(names))
		for i, span := range spans {
			check.Want(t, "span", span.Name(), names[i])
			check.Want(t, "trace", span.SpanContext().TraceID(), parent.TraceID())
			check.Want(t, "parent of "+names[i], span.Parent().SpanID(), parent.SpanID())
			parent = span.SpanContext()
		}
		check.Want(t, "span of the handler", inHandler.SpanID(), spans[1].SpanContext().SpanID())
		headers, _, err := envelope.Split(pubs[len(pubs)-1].Body)
		check.Want(t, "envelope", err, nil)
		value, _ := headers.Get("traceparent")
		check.Want(t, "trace of the dead letter", string(value), "00-"+parent.TraceID().String()+"-"+parent.SpanID().String()+"-01")
		k.wantPoints("messaging.client.sent.messages", "1 messaging.operation.name=publish\n1 messaging.operation.name=publish")
	})
}
