package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/nsqx/nsqx"
	nsqotel "github.com/nsqx/nsqx/otel"
)

// telemetry is where spans and metrics go: what any service with OpenTelemetry
// has. nsqx is one of the libraries that use it.
type telemetry struct {
	nsqx    nsqx.Telemetry
	tracer  trace.Tracer // of the service's own spans
	metrics string       // URL
	otlp    string       // where spans go beside the terminal; "" for nowhere

	close func() error
}

// newTelemetry gives spans to show, and to OTLP if the environment says where;
// metrics are served on the address listen, as Prometheus wants them.
func newTelemetry(ctx context.Context, listen string, show sdktrace.SpanProcessor) (*telemetry, error) {
	t := &telemetry{otlp: otlpEndpoint()}
	res, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("shop")),
		resource.WithFromEnv(), // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES count more
	)
	if err != nil {
		return nil, err
	}

	registry := prometheus.NewRegistry()
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	spans := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(res), sdktrace.WithSpanProcessor(show),
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // whatever the environment says: it is few, and shown
	}
	if t.otlp != "" {
		exporter, err := otlptracehttp.New(ctx) // configured by the environment
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		spans = append(spans, sdktrace.WithBatcher(exporter))
	}
	tracers := sdktrace.NewTracerProvider(spans...)
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithResource(res), sdkmetric.WithReader(reader))

	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	t.metrics = "http://" + listener.Addr().String() + "/metrics"
	t.tracer = tracers.Tracer("github.com/nsqx/nsqx/examples/tracing")
	t.nsqx = nsqotel.New(
		nsqotel.WithTracerProvider(tracers),
		nsqotel.WithMeterProvider(meters),
		nsqotel.WithPropagators(propagation.TraceContext{}),
	)
	t.close = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := errors.Join(tracers.Shutdown(ctx), meters.Shutdown(ctx), server.Shutdown(ctx))
		if end := <-served; end != http.ErrServerClosed {
			err = errors.Join(err, end)
		}
		return err
	}
	return t, nil
}

// otlpEndpoint is where the environment wants spans to go, by the variables that all
// of OpenTelemetry reads.
func otlpEndpoint() string {
	if url := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); url != "" {
		return url
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
}
