package nsqotel

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
)

// outbound holds what the publishes to one topic share.
type outbound struct {
	spanName string
	start    []trace.SpanStartOption
	attrs    []attribute.KeyValue // nil if start has them
	results  *table[sentKey, *sent]
}

type sentKey struct{ nsqd, errorType string }

// sent holds the attributes of publishes with the same nsqd and error type.
type sent struct{ messages, duration measurement }

// Producer implements [observe.Telemetry].
func (t *telemetry) Producer(info observe.ProducerInfo) handler.SendMiddleware {
	topics := newTable(func(topic string) *outbound { return t.outbound(topic, info.ClientID) })
	return func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			p := publish{telemetry: t, out: out, to: topics.get(out.Topic), err: errNoReturn}
			p.begin(ctx)
			defer p.end() // also if next panics
			p.err = next(p.ctx, out)
			return p.err
		}
	}
}

func (t *telemetry) outbound(topic, clientID string) *outbound {
	d := t.destination(topic, "")
	to := &outbound{
		spanName: d.spanName(publishOperation),
		start:    []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)},
		attrs:    t.spanAttributes(d, publishOperation, semconv.MessagingOperationTypeSend, clientID),
		results: newTable(func(key sentKey) *sent {
			attrs := append(t.metricAttributes(d, key.nsqd), keyOperation.String(publishOperation))
			if key.errorType != "" {
				attrs = append(attrs, keyErrorType.String(key.errorType))
			}
			attrs = slices.Clip(attrs)
			return &sent{newMeasurement(attrs...), newMeasurement(append(attrs, semconv.MessagingOperationTypeSend)...)}
		}),
	}
	if t.cfg.samplerAttrs {
		to.start, to.attrs = append(to.start, trace.WithAttributes(to.attrs...)), nil
	}
	return to
}

// publish observes one publish.
type publish struct {
	*telemetry
	out   *handler.Outgoing
	to    *outbound
	err   error
	ctx   context.Context // with the span
	span  trace.Span      // nil if filtered out
	began time.Time       // zero if no instrument needs the time
}

func (p *publish) begin(ctx context.Context) {
	p.ctx = ctx
	if keep := p.cfg.filter; keep == nil || keep(ctx, Operation{Topic: p.out.Topic, Outgoing: p.out}) {
		p.ctx, p.span = p.tracer.Start(ctx, p.to.spanName, p.to.start...)
		if p.to.attrs != nil && p.span.IsRecording() {
			p.span.SetAttributes(p.to.attrs...)
		}
	}
	if p.out.Envelope {
		p.propagator.Inject(p.ctx, (*outgoing)(p.out))
	}
	if p.inst.operationDuration.Enabled(p.ctx) {
		p.began = time.Now()
	}
}

func (p *publish) end() {
	kind := p.errors.of(p.err)
	p.measure(kind)
	if p.span == nil {
		return
	}
	if p.span.IsRecording() {
		p.describeSpan(kind)
	}
	p.span.End()
}

func (p *publish) describeSpan(kind string) {
	attrs := appendServer(make([]attribute.KeyValue, 0, 5), p.out.NSQD)
	if n := len(p.out.Messages); n > 1 {
		attrs = append(attrs, keyBatchCount.Int(n))
	}
	if p.out.Delay > 0 {
		attrs = append(attrs, keyDeferDelay.Int64(milliseconds(p.out.Delay)))
	}
	if p.err != nil {
		attrs = append(attrs, keyErrorType.String(kind))
		p.span.SetStatus(codes.Error, describe(p.err))
	}
	p.span.SetAttributes(attrs...)
}

// milliseconds rounds up, like DPUB.
func milliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

func (p *publish) measure(errorType string) {
	messages := p.inst.sent.Enabled(p.ctx)
	if !messages && p.began.IsZero() {
		return
	}
	nsqd := p.server(p.out.NSQD)
	r := p.to.results.get(sentKey{nsqd, errorType})
	if messages {
		n := len(p.out.Messages)
		if good := min(confirmed(p.err), n); good > 0 { // the first messages
			p.inst.sent.Add(p.ctx, int64(good), p.to.results.get(sentKey{nsqd: nsqd}).messages.add...)
			n -= good
		}
		p.inst.sent.Add(p.ctx, int64(n), r.messages.add...)
	}
	if !p.began.IsZero() {
		p.inst.operationDuration.Record(p.ctx, time.Since(p.began).Seconds(), r.duration.record...)
	}
}
