package nsqotel_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
	nsqotel "github.com/nsqx/nsqx/otel"
	"github.com/nsqx/nsqx/retry"
)

// Tests of consumer.go, attributes.go, measure.go and option.go.

// Span and counters for each disposition.
func TestOutcomes(t *testing.T) {
	stopped := func(cause error) nsqxtest.MessageOption {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		return nsqxtest.WithContext(ctx)
	}
	sleep := func(ctx context.Context, _ string) error { time.Sleep(2 * time.Minute); return ctx.Err() }
	answer := func(err error) handler.Func[string] { return func(context.Context, string) error { return err } }
	deadLetter := nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error { return nil })

	tests := map[string]struct {
		handle      handler.Func[string]
		opts        []nsqx.ConsumerOption
		message     []nsqxtest.MessageOption
		disposition string
		delay       string
		errorType   string
	}{
		"success":       {handle: answer(nil), disposition: "finish"},
		"failure":       {handle: answer(errBill), disposition: "requeue", delay: "1000", errorType: "*errors.errorString"},
		"again later":   {handle: answer(retry.After(time.Minute, nil)), disposition: "requeue", delay: "60000"},
		"after a delay": {handle: answer(retry.After(time.Minute, errBill)), disposition: "requeue", delay: "60000", errorType: "*errors.errorString"},
		"dropped":       {handle: answer(retry.Drop(errBill)), disposition: "drop", errorType: "*errors.errorString"},
		"dead letter":   {handle: answer(retry.Permanent(errBill)), opts: []nsqx.ConsumerOption{deadLetter}, disposition: "dead_letter", errorType: "*errors.errorString"},
		"stale":         {handle: answer(nil), message: []nsqxtest.MessageOption{nsqxtest.WithExpires(time.Unix(1, 0))}, disposition: "drop", errorType: "stale"},
		"stale, dead":   {handle: answer(nil), opts: []nsqx.ConsumerOption{deadLetter, nsqx.WithSkipOlder(time.Hour)}, message: []nsqxtest.MessageOption{nsqxtest.WithTimestamp(time.Unix(1, 0))}, disposition: "dead_letter", errorType: "stale"},
		"interrupted":   {handle: answer(errBill), message: []nsqxtest.MessageOption{stopped(handler.ErrShutdown)}, disposition: "interrupted", errorType: "*errors.errorString"},
		"lost":          {handle: answer(nil), message: []nsqxtest.MessageOption{stopped(handler.ErrConnLost)}, disposition: "lost"},
		"expired":       {handle: sleep, disposition: "expired", errorType: "timeout"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKit(t)
				opts := append([]nsqx.ConsumerOption{nsqx.WithRetry(retry.Schedule(time.Second))}, tt.opts...)
				message := append([]nsqxtest.MessageOption{nsqxtest.WithTopic("orders", "billing"), nsqxtest.WithAttempts(3)}, tt.message...)
				nsqxtest.Deliver(t, k.consumer(tt.handle, opts...), []byte(`"7"`), message...)

				span, attrs, settled, processed := k.span(), "", "1", ""
				status := codes.Unset
				if tt.errorType != "" {
					attrs, status = "error.type="+tt.errorType+" ", codes.Error
					settled += " error.type=" + tt.errorType
					processed = " error.type=" + tt.errorType
				}
				attrs += common + " messaging.nsq.message.attempts=3 messaging.nsq.message.disposition=" + tt.disposition
				if tt.delay != "" {
					attrs += " messaging.nsq.message.requeue_delay_ms=" + tt.delay
				}
				attrs += " messaging.operation.name=process messaging.operation.type=process messaging.system=nsq"
				check.Want(t, "name", span.Name(), "process orders")
				check.Want(t, "kind", span.SpanKind(), trace.SpanKindConsumer)
				check.Want(t, "status", span.Status().Code, status)
				check.Want(t, "events", len(span.Events()), 0)
				wantAttributes(t, "span", span.Attributes(), attrs)
				k.wantPoints("nsq.consumer.settlements", settled+" messaging.nsq.message.disposition="+tt.disposition)
				k.wantPoints("messaging.client.consumed.messages", "1"+processed+" messaging.operation.name=process")
				k.wantPoints("nsq.consumer.redeliveries", "1")
			})
		})
	}
}

// Dead letters at the last attempt, with and without an error type of their own.
func TestMaxAttempts(t *testing.T) {
	info := consumerInfo
	info.MaxAttempts = 3
	tests := map[string]struct {
		attempts uint16
		out      handler.Outcome
		want     string
	}{
		"the last":      {3, handler.Outcome{Disposition: handler.DeadLetter, Err: errBill}, "max_attempts"},
		"wrapped":       {0, handler.Outcome{Disposition: handler.DeadLetter, Err: errBill}, "max_attempts"},
		"before":        {2, handler.Outcome{Disposition: handler.DeadLetter, Err: errBill}, "*errors.errorString"},
		"typed":         {3, handler.Outcome{Disposition: handler.DeadLetter, Err: context.DeadlineExceeded}, "timeout"},
		"not published": {3, handler.Outcome{Disposition: handler.Requeue, Err: errBill}, "*errors.errorString"},
	}
	for name, tt := range tests {
		k := newKit(t)
		m := nsqxtest.Message(nil, nsqxtest.WithAttempts(tt.attempts))
		_ = k.Consumer(info)(func(_ context.Context, m *handler.Message) error {
			(*handler.Delivery)(m).SetOutcome(tt.out)
			return tt.out.Err
		})(m.Context(), m)
		k.wantPoints("messaging.client.consumed.messages", "1 error.type="+tt.want+" messaging.operation.name=process")
		check.Want(t, name, k.span().Status().Code, codes.Error)
	}
}

// A message that waits in the queue and then in the handler.
func TestDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nsqotel.WithQueueDuration())
		c := k.consumer(func(context.Context, string) error { time.Sleep(2 * time.Second); return nil })
		m := nsqxtest.Message([]byte(`"7"`), nsqxtest.WithTimestamp(time.Now().Add(-time.Hour)))
		time.Sleep(time.Second)
		c.Process(m.Context(), m)
		k.wantPoints("nsq.consumer.message.age", "1×, 1h0m1s")
		k.wantPoints("nsq.consumer.queue.duration", "1×, 1s")
		k.wantPoints("messaging.process.duration", "1×, 2s messaging.operation.name=process")
		k.wantPoints("nsq.consumer.redeliveries", "none")
	})
}

// Of many messages the ages of some are recorded, unless all are asked for.
func TestAges(t *testing.T) {
	for name, tt := range map[string]struct {
		opts       []nsqotel.Option
		age, queue string
	}{
		"default": {nil, "3×, 0s", "none"},
		"every":   {[]nsqotel.Option{nsqotel.WithEveryAge(), nsqotel.WithQueueDuration()}, "21×, 0s", "21×, 0s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKit(t, tt.opts...)
				c := k.consumer(func(context.Context, string) error { return nil })
				for range 21 { // in 20 ms
					nsqxtest.Deliver(t, c, []byte(`"7"`), nsqxtest.WithTimestamp(time.Now()))
					time.Sleep(time.Millisecond)
				}
				k.wantPoints("nsq.consumer.message.age", tt.age)
				k.wantPoints("nsq.consumer.queue.duration", tt.queue)
			})
		})
	}
}

// attributeCounter is a sampler that counts the attributes that it is given.
type attributeCounter struct {
	sdktrace.Sampler
	attributes []int
}

func (s *attributeCounter) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	s.attributes = append(s.attributes, len(p.Attributes))
	return s.Sampler.ShouldSample(p)
}

// A span has the same attributes whether the sampler is given them or not.
func TestSamplerAttributes(t *testing.T) {
	var texts [2]string
	for i, opts := range [][]nsqotel.Option{nil, {nsqotel.WithSamplerAttributes()}} {
		sampler := &attributeCounter{Sampler: sdktrace.AlwaysSample()}
		spans := tracetest.NewSpanRecorder()
		k := newKit(t, append(opts, nsqotel.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithSpanProcessor(spans))))...)
		nsqxtest.Deliver(t, k.consumer(func(context.Context, string) error { return nil }), []byte(`"7"`))
		_ = k.publish(t.Context(), &handler.Outgoing{Topic: "orders", Messages: messages(1)}, func(context.Context, *handler.Outgoing) error { return nil })
		m := nsqxtest.Message([]byte("7"))
		_ = k.Batch(consumerInfo)(func(context.Context, []*handler.Message) error { return nil })(t.Context(), []*handler.Message{m})
		check.Want(t, "spans", len(sampler.attributes), 3)
		for _, n := range sampler.attributes {
			check.Want(t, "the sampler has attributes", n >= 5, i == 1)
		}
		for _, span := range spans.Ended() {
			for _, kv := range span.Attributes() {
				if kv.Key != "messaging.message.id" {
					texts[i] += string(kv.Key) + "=" + kv.Value.String() + "\n"
				}
			}
		}
	}
	check.Want(t, "attributes", texts[1], texts[0])
}

// The clock of nsqd may be ahead. A message without a timestamp has no age.
func TestClocksDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, nsqotel.WithQueueDuration())
		c := k.consumer(func(context.Context, string) error { return nil })
		nsqxtest.Deliver(t, c, []byte(`"7"`), nsqxtest.WithTimestamp(time.Now().Add(time.Hour)))
		nsqxtest.Deliver(t, c, []byte(`"7"`), nsqxtest.WithTimestamp(time.Unix(0, 0)))
		k.wantPoints("nsq.consumer.message.age", "1×, 0s")

		m := new(handler.Message) // without a source
		c.Process(context.Background(), m)
		k.wantPoints("nsq.consumer.queue.duration", "2×, 0s")
	})
}

// The handler continues the producer's trace: with a parent, with a link, or without a span.
func TestParent(t *testing.T) {
	tests := map[string]struct {
		opts           []nsqotel.Option
		spans          int
		parent, linked string // ids of spans
		sameTrace      bool   // in the handler's ctx
	}{
		"parent and link": {spans: 1, parent: producerSpan, linked: producerSpan, sameTrace: true},
		"link only":       {opts: []nsqotel.Option{nsqotel.WithLinkOnly()}, spans: 1, parent: trace.SpanID{}.String(), linked: producerSpan},
		"filtered": {opts: []nsqotel.Option{nsqotel.WithFilter(func(_ context.Context, op nsqotel.Operation) bool {
			return op.Topic != "orders" || op.Channel != "billing" || op.Message == nil || op.Outgoing != nil
		})}, sameTrace: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, tt.opts...)
			var seen trace.SpanContext
			var tenant string
			c := k.consumer(func(ctx context.Context, v string) error {
				check.Want(t, "payload", v, "7")
				seen = trace.SpanContextFromContext(ctx)
				tenant = baggage.FromContext(ctx).Member("tenant").Value()
				return nil
			})
			nsqxtest.Deliver(t, c, traced(t, `"7"`))
			check.Want(t, "baggage", tenant, "7")
			check.Want(t, "handler is in the producer's trace", seen.TraceID().String() == producerTrace, tt.sameTrace)
			check.Want(t, "spans", len(k.spans.Ended()), tt.spans)
			k.wantPoints("messaging.client.consumed.messages", "1 messaging.operation.name=process")
			if tt.spans == 0 {
				return
			}
			span := k.span()
			check.Want(t, "handler's span", seen.SpanID(), span.SpanContext().SpanID())
			check.Want(t, "parent", span.Parent().SpanID().String(), tt.parent)
			check.Want(t, "links", len(span.Links()), 1)
			check.Want(t, "link", span.Links()[0].SpanContext.SpanID().String(), tt.linked)
		})
	}
}

// Without a trace in the headers, the span is a child of the caller's span and has no link.
func TestPlainMessage(t *testing.T) {
	k := newKit(t)
	c := k.consumer(func(context.Context, string) error { return nil })
	ctx, outer := k.tracers.Tracer("").Start(context.Background(), "outer")
	m := nsqxtest.Message([]byte(`"7"`))
	c.Process(ctx, m)
	foreign := envelope.Writer{}
	_ = foreign.Set("tenant", "7")
	m = nsqxtest.Message(foreign.AppendTo(nil, []byte(`"7"`)))
	c.Process(ctx, m) // with headers, but without a trace
	for _, span := range k.spans.Ended() {
		check.Want(t, "parent", span.Parent().SpanID(), outer.SpanContext().SpanID())
		check.Want(t, "links", len(span.Links()), 0)
	}
	check.Want(t, "spans", len(k.spans.Ended()), 2)
}

// The span of a handler that calls runtime.Goexit ends.
func TestGoexit(t *testing.T) {
	k := newKit(t)
	m := nsqxtest.Message(nil)
	wrapped := k.Consumer(observe.ConsumerInfo{Topic: "orders", Channel: "billing"})(func(context.Context, *handler.Message) error {
		runtime.Goexit()
		return nil
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = wrapped(m.Context(), m)
	}()
	<-done
	check.Want(t, "status", k.span().Status().Code, codes.Error)
	wantAttributes(t, "span", k.span().Attributes(), "error.type=panic "+common+" messaging.nsq.message.attempts=1 messaging.operation.name=process messaging.operation.type=process messaging.system=nsq")
	k.wantPoints("nsq.consumer.settlements", "none")
}

// Attributes of users, and a template.
func TestAttributes(t *testing.T) {
	k := newKit(t, nil, // ignored
		nsqotel.WithSpanAttributes(attribute.String("team", "cash")), nsqotel.WithSpanAttributes(attribute.Int("shard", 3)),
		nsqotel.WithMetricAttributes(attribute.String("zone", "a")),
		nsqotel.WithDestinationTemplate(func(topic string) string {
			if topic == "orders" {
				return "ord*"
			}
			return ""
		}))
	nsqxtest.Deliver(t, k.consumer(func(context.Context, string) error { return nil }), []byte(`"7"`))
	check.Want(t, "name", k.span().Name(), "process ord*")
	wantAttributes(t, "span", k.span().Attributes(), "messaging.destination.name=orders messaging.destination.subscription.name=billing messaging.destination.template=ord* "+
		"messaging.nsq.message.attempts=1 messaging.nsq.message.disposition=finish messaging.operation.name=process messaging.operation.type=process messaging.system=nsq shard=3 team=cash")
	k.wantPoints("messaging.client.consumed.messages", "1 messaging.destination.template=ord* messaging.operation.name=process zone=a")

	_ = k.publish(context.Background(), &handler.Outgoing{Topic: "bills"}, func(context.Context, *handler.Outgoing) error { return nil })
	check.Want(t, "name without a template", k.spans.Ended()[1].Name(), "publish bills")
}

// Nil options are ignored, and without an SDK nothing is recorded.
func TestNoProviders(t *testing.T) {
	tel := nsqotel.New(nsqotel.WithTracerProvider(nil), nsqotel.WithMeterProvider(nil), nsqotel.WithPropagators(nil),
		nsqotel.WithFilter(nil), nsqotel.WithDestinationTemplate(nil))
	k := &kit{Telemetry: tel, t: t}
	failed := errors.New("failed")
	out := nsqxtest.Deliver(t, k.consumer(func(context.Context, string) error { return failed }), traced(t, `"7"`))
	check.Want(t, "disposition", out.Disposition, handler.Requeue)
	err := k.publish(context.Background(), &handler.Outgoing{Topic: "bills", Envelope: true}, func(context.Context, *handler.Outgoing) error { return failed })
	check.Want(t, "error", err, failed)
}
