package nsqotel

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
)

// consumer holds what the messages of a consumer share.
type consumer struct {
	*telemetry
	dest     destination
	spanName string
	attempts int                      // maximum; 0: none
	nsqds    *table[string, *inbound] // by address
}

// inbound holds what the messages of one nsqd share.
type inbound struct {
	start    []trace.SpanStartOption
	plain    measurement
	finished *result // without an error: most messages
	tally    *tally  // counts finished; nil if there are too many tallies
	results  *table[resultKey, *result]
}

type resultKey struct {
	disposition handler.Disposition
	errorType   string
}

// result holds the attributes of messages with the same disposition and error type.
type result struct{ process, settlement measurement }

// Consumer implements [nsqx.Telemetry].
func (t *telemetry) Consumer(info nsqx.ConsumerInfo) handler.Middleware {
	c := &consumer{telemetry: t, dest: t.destination(info.Topic, info.Channel), attempts: info.MaxAttempts}
	c.spanName = c.dest.spanName(processOperation)
	attrs := t.spanAttributes(c.dest, processOperation, semconv.MessagingOperationTypeProcess, info.ClientID)
	c.nsqds = newTable(func(nsqd string) *inbound {
		in := &inbound{
			start: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(appendServer(slices.Clip(attrs), nsqd)...)},
			plain: newMeasurement(t.metricAttributes(c.dest, nsqd)...),
		}
		if t.cfg.linkOnly {
			in.start = append(in.start, trace.WithNewRoot())
		}
		in.start = slices.Clip(in.start)
		in.results = newTable(func(key resultKey) *result { return c.result(nsqd, key) })
		in.finished = in.results.get(resultKey{disposition: handler.Finish})
		in.tally = t.finished.of(tallyKey{c.dest, t.server(nsqd)}, *in.finished)
		return in
	})
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			p := process{consumer: c, m: m}
			p.begin(ctx)
			defer p.end() // also after runtime.Goexit
			return next(p.ctx, m)
		}
	}
}

func (c *consumer) result(nsqd string, key resultKey) *result {
	attrs := c.metricAttributes(c.dest, nsqd)
	if key.errorType != "" {
		attrs = append(attrs, keyErrorType.String(key.errorType))
	}
	attrs = slices.Clip(attrs)
	return &result{
		process:    newMeasurement(append(attrs, keyOperation.String(processOperation))...),
		settlement: newMeasurement(append(attrs, keyDisposition.String(key.disposition.String()))...),
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
	p.at = p.nsqds.get(p.m.NSQD())
	start := p.at.start
	ctx, producer := p.extract(ctx, p.m)
	if producer.IsValid() {
		start = append(start, trace.WithLinks(trace.Link{SpanContext: producer}))
	}
	p.ctx = ctx
	if keep := p.cfg.filter; keep == nil || keep(ctx, Operation{Topic: p.dest.topic, Channel: p.dest.channel, Message: p.m}) {
		p.ctx, p.span = p.tracer.Start(ctx, p.spanName, start...)
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
	p.span.SetAttributes(keyMessageID.String(p.m.ID.String()), keyAttempts.Int(int(p.m.Attempts)))
	if out.Disposition != handler.Pending {
		p.span.SetAttributes(keyDisposition.String(out.Disposition.String()))
	}
	if out.Disposition == handler.Requeue {
		p.span.SetAttributes(keyRequeueDelay.Int64(out.Delay.Milliseconds()))
	}
	if err != nil {
		p.span.SetAttributes(keyErrorType.String(kind))
		p.span.SetStatus(codes.Error, describe(err))
	}
}
