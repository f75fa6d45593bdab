package nsqotel

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/nsqx/nsqx/handler"
)

// Option is an option of [New]. Nil options are ignored. The last option of a kind wins, except
// that attributes add up.
type Option interface{ apply(*config) }

type option func(*config)

func (o option) apply(c *config) { o(c) }

type config struct {
	tracers      trace.TracerProvider
	meters       metric.MeterProvider
	propagator   propagation.TextMapPropagator
	linkOnly     bool
	samplerAttrs bool
	metricServer bool
	queue        bool
	everyAge     bool
	filter       func(context.Context, Operation) bool
	template     func(topic string) string
	spanAttrs    []attribute.KeyValue
	metricAttrs  []attribute.KeyValue
}

func newConfig(opts []Option) config {
	c := config{tracers: otel.GetTracerProvider(), meters: otel.GetMeterProvider(), propagator: otel.GetTextMapPropagator()}
	for _, o := range opts {
		if o != nil {
			o.apply(&c)
		}
	}
	return c
}

// WithTracerProvider sets the provider of tracers. Defaults to the global provider, even if
// otel.SetTracerProvider is called later. Nil is ignored.
func WithTracerProvider(p trace.TracerProvider) Option {
	return option(func(c *config) {
		if p != nil {
			c.tracers = p
		}
	})
}

// WithMeterProvider sets the provider of meters. Defaults to the global provider, even if
// otel.SetMeterProvider is called later. Nil is ignored.
func WithMeterProvider(p metric.MeterProvider) Option {
	return option(func(c *config) {
		if p != nil {
			c.meters = p
		}
	})
}

// WithPropagators sets the propagator that carries a trace in the headers of messages. Defaults to
// the global propagator, even if otel.SetTextMapPropagator is called later; without that call it
// carries nothing. Nil is ignored.
func WithPropagators(p propagation.TextMapPropagator) Option {
	return option(func(c *config) {
		if p != nil {
			c.propagator = p
		}
	})
}

// WithLinkOnly makes each process span the root of a new trace, with a link to the producer's
// span. Traces stay small where one message leads to many. Defaults to a process span that is a
// child of the producer's span, and also has a link to it.
func WithLinkOnly() Option { return option(func(c *config) { c.linkOnly = true }) }

// Operation is the processing of one message, or one publish.
type Operation struct {
	Topic, Channel string            // Channel is "" for a publish
	Message        *handler.Message  // nil for a publish
	Outgoing       *handler.Outgoing // nil for a process
}

// WithFilter limits spans to operations for which keep returns true. Metrics count all operations,
// and operations without a span still pass on their trace. keep must be safe for concurrent use.
// Defaults to all operations. Nil is ignored.
func WithFilter(keep func(ctx context.Context, op Operation) bool) Option {
	return option(func(c *config) {
		if keep != nil {
			c.filter = keep
		}
	})
}

// WithSpanAttributes adds attributes to all spans. Defaults to none.
func WithSpanAttributes(attrs ...attribute.KeyValue) Option {
	attrs = slices.Clone(attrs)
	return option(func(c *config) { c.spanAttrs = append(c.spanAttrs, attrs...) })
}

// WithSamplerAttributes gives the attributes of a span to the sampler, and to OnStart of span
// processors, except those that are known only at its end. Use it if a sampler decides by attributes.
// It costs each message a copy of them, sampled or not: see Costs. Defaults to attributes that are
// set after the start if the span is recorded; a sampler then sees the name, which has the topic, the
// kind and the links.
func WithSamplerAttributes() Option { return option(func(c *config) { c.samplerAttrs = true }) }

// WithMetricAttributes adds attributes to all metrics. Defaults to none.
func WithMetricAttributes(attrs ...attribute.KeyValue) Option {
	attrs = slices.Clone(attrs)
	return option(func(c *config) { c.metricAttrs = append(c.metricAttrs, attrs...) })
}

// WithServerAddress adds server.address and server.port to metrics about one nsqd, which
// multiplies their number by the number of nsqds. Defaults to spans only.
func WithServerAddress() Option { return option(func(c *config) { c.metricServer = true }) }

// WithQueueDuration records nsq.consumer.queue.duration: how long messages wait for a handler.
// Defaults to no such metric.
func WithQueueDuration() Option { return option(func(c *config) { c.queue = true }) }

// WithEveryAge records nsq.consumer.message.age of every message. Defaults to at most 100 messages a
// second and consumer, or consumer and nsqd with [WithServerAddress].
func WithEveryAge() Option { return option(func(c *config) { c.everyAge = true }) }

// WithDestinationTemplate groups topics under a common name: "chat.<room>" for chat.7#ephemeral.
// Spans are named after the template and have it as an additional attribute; metrics have it
// instead of the topic. template returns "" for a topic without a template. It is called once or a
// few times for each topic. Defaults to no templates. Nil is ignored.
func WithDestinationTemplate(template func(topic string) string) Option {
	return option(func(c *config) {
		if template != nil {
			c.template = template
		}
	})
}
