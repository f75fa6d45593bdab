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

// consumer holds what the messages of a consumer share.
type consumer struct {
	*telemetry
	dest     destination
	spanName string
	attempts int                     // maximum; 0: none
	start    []trace.SpanStartOption // without attributes
	origins  *table[string, *origin] // by address
	all      *inbound                // nil if metrics have the address
	nsqds    *table[string, *inbound]
}

// origin holds what the spans of messages of one nsqd share.
type origin struct {
	start []trace.SpanStartOption // with attrs
	attrs []attribute.KeyValue
}

// newConsumer prepares the attributes of a consumer's spans and metrics.
func (t *telemetry) newConsumer(info observe.ConsumerInfo) *consumer {
	c := &consumer{telemetry: t, dest: t.destination(info.Topic, info.Channel), attempts: info.MaxAttempts}
	c.spanName = c.dest.spanName(processOperation)
	attrs := t.spanAttributes(c.dest, processOperation, semconv.MessagingOperationTypeProcess, info.ClientID)
	c.start = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)}
	if t.cfg.linkOnly {
		c.start = append(c.start, trace.WithNewRoot())
	}
	c.start = slices.Clip(c.start)
	c.origins = newTable(func(nsqd string) *origin {
		o := &origin{attrs: slices.Clip(appendServer(slices.Clip(attrs), nsqd))}
		o.start = slices.Clip(append(c.start, trace.WithAttributes(o.attrs...)))
		return o
	})
	c.nsqds = newTable(c.newInbound)
	if !t.cfg.metricServer {
		c.all = c.newInbound("")
	}
	return c
}

// inbound returns what the messages of an nsqd share.
func (c *consumer) inbound(nsqd string) *inbound {
	if c.all != nil {
		return c.all
	}
	return c.nsqds.get(nsqd)
}

// Consumer implements [observe.Telemetry].
func (t *telemetry) Consumer(info observe.ConsumerInfo) handler.Middleware {
	c := t.newConsumer(info)
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			p := process{consumer: c, m: m}
			p.begin(ctx)
			defer p.end() // also after runtime.Goexit
			return next(p.ctx, m)
		}
	}
}

// process observes the handling of one message.
type process struct {
	*consumer
	m     *handler.Message
	at    *inbound
	ctx   context.Context // with the span
	span  trace.Span      // nil if filtered out
	began time.Time       // zero if no instrument needs the time
}

func (p *process) begin(ctx context.Context) {
	nsqd := p.m.NSQD()
	p.at = p.inbound(nsqd)
	start := p.start
	if p.cfg.samplerAttrs {
		start = p.origins.get(nsqd).start
	}
	ctx, producer := p.extract(ctx, p.m)
	if producer.IsValid() {
		start = append(start, trace.WithLinks(trace.Link{SpanContext: producer}))
	}
	p.ctx = ctx
	if keep := p.cfg.filter; keep == nil || keep(ctx, Operation{Topic: p.dest.topic, Channel: p.dest.channel, Message: p.m}) {
		p.ctx, p.span = p.tracer.Start(ctx, p.spanName, start...)
		if !p.cfg.samplerAttrs && p.span.IsRecording() {
			p.span.SetAttributes(p.origins.get(nsqd).attrs...)
		}
	}
	p.measureBegin()
}

func (p *process) end() {
	out := p.m.Outcome()
	err := failure(out)
	kind := p.errorType(out, err)
	p.measureEnd(out, kind)
	if p.span == nil {
		return
	}
	if p.span.IsRecording() {
		p.describeSpan(out, err, kind)
	}
	p.span.End()
}

// errorType returns the error.type of a delivery. max_attempts replaces an error type without
// information, if the message was dead-lettered at its last attempt.
func (p *process) errorType(out handler.Outcome, err error) string {
	kind := p.errors.of(err)
	n := int(p.m.Attempts)
	if n == 0 { // the counter of nsqd has wrapped
		n = 1 << 16
	}
	if out.Disposition == handler.DeadLetter && p.attempts > 0 && n >= p.attempts && isUntyped(kind) {
		return errorAttempts
	}
	return kind
}

func (p *process) describeSpan(out handler.Outcome, err error, kind string) {
	attrs := append(make([]attribute.KeyValue, 0, 5), keyMessageID.String(p.m.ID.String()), keyAttempts.Int(int(p.m.Attempts)))
	if out.Disposition != handler.Pending {
		attrs = append(attrs, keyDisposition.String(out.Disposition.String()))
	}
	if out.Disposition == handler.Requeue {
		attrs = append(attrs, keyRequeueDelay.Int64(out.Delay.Milliseconds()))
	}
	if err != nil {
		attrs = append(attrs, keyErrorType.String(kind))
		p.span.SetStatus(codes.Error, describe(err))
	}
	p.span.SetAttributes(attrs...)
}
