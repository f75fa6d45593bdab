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

// Option is an option of [New]. Nil ones are ignored. Of one that is given more
// than once the last counts, except for attributes, which add up.
type Option interface{ apply(*config) }

type option func(*config)

func (o option) apply(c *config) { o(c) }

type config struct {
	tracers      trace.TracerProvider
	meters       metric.MeterProvider
	propagator   propagation.TextMapPropagator
	linkOnly     bool
	metricServer bool
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

// WithTracerProvider sets where spans go. Defaults to the global one
// (otel.SetTracerProvider), whenever it is set; nil is ignored.
func WithTracerProvider(p trace.TracerProvider) Option {
	return option(func(c *config) {
		if p != nil {
			c.tracers = p
		}
	})
}

// WithMeterProvider sets where metrics go. Defaults to the global one
// (otel.SetMeterProvider), whenever it is set; nil is ignored.
func WithMeterProvider(p metric.MeterProvider) Option {
	return option(func(c *config) {
		if p != nil {
			c.meters = p
		}
	})
}

// WithPropagators sets what carries a trace in the headers of messages. Defaults
// to the global one (otel.SetTextMapPropagator), whenever it is set, which until
// then carries nothing; nil is ignored.
func WithPropagators(p propagation.TextMapPropagator) Option {
	return option(func(c *config) {
		if p != nil {
			c.propagator = p
		}
	})
}

// WithLinkOnly makes each process span the root of a trace of its own, which has
// a link to the producer's span. It keeps traces small where one message leads to
// many. Defaults to a process span that is a child of the producer's, and has a
// link to it.
func WithLinkOnly() Option { return option(func(c *config) { c.linkOnly = true }) }

// Operation is one message that is processed, or one publish.
type Operation struct {
	Topic, Channel string            // Channel is "" of a publish
	Message        *handler.Message  // that is to be processed; nil of a publish
	Outgoing       *handler.Outgoing // that is to be published; nil of a process
}

// WithFilter makes spans only of operations for which keep returns true. Metrics
// count all of them, and the context of a trace passes through. keep is called
// by many goroutines at once. Defaults to all; nil is ignored.
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

// WithMetricAttributes adds attributes to all metrics. Defaults to none.
func WithMetricAttributes(attrs ...attribute.KeyValue) Option {
	attrs = slices.Clone(attrs)
	return option(func(c *config) { c.metricAttrs = append(c.metricAttrs, attrs...) })
}

// WithServerAddress adds server.address and server.port, of the nsqd, to the
// metrics that are about one. It multiplies their number by that of the nsqds.
// Defaults to spans only.
func WithServerAddress() Option { return option(func(c *config) { c.metricServer = true }) }

// WithDestinationTemplate names topics that are many by what they have in common:
// "chat.<room>" for chat.7#ephemeral. Spans are named after it and have it as a
// further attribute; metrics have it instead of the topic. template returns "" for a topic
// that stands for itself, and is called once, or a few times, for each topic. Defaults to no
// templates; nil is ignored.
func WithDestinationTemplate(template func(topic string) string) Option {
	return option(func(c *config) {
		if template != nil {
			c.template = template
		}
	})
}
