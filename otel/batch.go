package nsqotel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
)

// Batch implements [observe.Telemetry]: one process span a batch, with a link to the producer of
// each message. Metrics count messages.
func (t *telemetry) Batch(info observe.ConsumerInfo) handler.BatchMiddleware {
	c := t.newConsumer(info)
	attrs := t.spanAttributes(c.dest, processOperation, semconv.MessagingOperationTypeProcess, info.ClientID)
	return func(next handler.RawBatch) handler.RawBatch {
		return func(ctx context.Context, msgs []*handler.Message) error {
			b := batch{consumer: c, messages: make([]process, len(msgs))}
			b.begin(ctx, msgs, attrs)
			defer b.end() // also after runtime.Goexit
			return next(b.ctx, msgs)
		}
	}
}

// batch observes the handling of one batch.
type batch struct {
	*consumer
	messages []process // without spans
	ctx      context.Context
	span     trace.Span // nil if filtered out
}

func (b *batch) begin(ctx context.Context, msgs []*handler.Message, attrs []attribute.KeyValue) {
	b.ctx = ctx
	var links []trace.Link
	for i, m := range msgs {
		p := &b.messages[i]
		*p = process{consumer: b.consumer, m: m, at: b.inbound(m.NSQD())}
		var producer trace.SpanContext
		if p.ctx, producer = b.extract(m.Context(), m); producer.IsValid() {
			links = append(links, trace.Link{SpanContext: producer})
		}
		p.measureBegin()
	}
	if keep := b.cfg.filter; keep != nil && !keep(ctx, Operation{Topic: b.dest.topic, Channel: b.dest.channel, Message: msgs[0]}) {
		return
	}
	start := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...)}
	attrs = append(attrs, keyBatchCount.Int(len(msgs)))
	if b.cfg.samplerAttrs {
		start = append(start, trace.WithAttributes(attrs...))
	}
	b.ctx, b.span = b.tracer.Start(ctx, b.spanName, start...)
	if !b.cfg.samplerAttrs && b.span.IsRecording() {
		b.span.SetAttributes(attrs...)
	}
}

func (b *batch) end() {
	var firstErr error
	var firstKind string
	for i := range b.messages {
		p := &b.messages[i]
		out := p.m.Outcome()
		err := failure(out)
		kind := p.errorType(out, err)
		p.measureEnd(out, kind)
		if firstErr == nil {
			firstErr, firstKind = err, kind
		}
	}
	if b.span == nil {
		return
	}
	if firstErr != nil && b.span.IsRecording() { // the first failed message stands for all
		b.span.SetAttributes(keyErrorType.String(firstKind))
		b.span.SetStatus(codes.Error, describe(firstErr))
	}
	b.span.End()
}
