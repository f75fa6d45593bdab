package nsqotel

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/nsqx/nsqx/observe"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// telemetry implements nsqx.Telemetry, nsqx.PublisherObserver and the hooks that it needs.
type telemetry struct {
	cfg        config
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	inst       instruments
	errors     errorTypes
	tallies    tallies

	mu         sync.Mutex
	consumers  map[*observed]struct{}          // running
	publishers map[*observedPublisher]struct{} // open
}

// New returns a telemetry for [nsqx.WithTelemetry]. One serves all consumers, producers and
// publishers of a service.
//
// Without options it uses the global providers and propagator, even if they are set later.
func New(opts ...Option) observe.Telemetry {
	cfg := newConfig(opts)
	meter := cfg.meters.Meter(scopeName, metric.WithInstrumentationVersion(scopeVersion), metric.WithSchemaURL(schemaURL))
	t := &telemetry{
		cfg:        cfg,
		tracer:     cfg.tracers.Tracer(scopeName, trace.WithInstrumentationVersion(scopeVersion), trace.WithSchemaURL(schemaURL)),
		propagator: cfg.propagator,
		inst:       newInstruments(meter),
		consumers:  make(map[*observed]struct{}),
		publishers: make(map[*observedPublisher]struct{}),
	}
	_, err := meter.RegisterCallback(t.observe, t.inst.observed()...)
	report(err)
	return t
}

// observe is called when metrics are collected.
func (t *telemetry) observe(ctx context.Context, o metric.Observer) error {
	t.tallies.flush(ctx, &t.inst)
	t.mu.Lock()
	consumers, publishers := slices.Collect(maps.Keys(t.consumers)), slices.Collect(maps.Keys(t.publishers))
	t.mu.Unlock()
	for _, c := range consumers {
		c.observe(ctx, o)
	}
	for _, p := range publishers {
		p.observe(ctx, o)
	}
	return nil
}
