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

// telemetry exports spans and metrics, as any service with OpenTelemetry does. nsqx is one of the
// libraries that use it.
type telemetry struct {
	nsqx    nsqx.Telemetry
	tracer  trace.Tracer // for the service's own spans
	metrics string       // URL
	otlp    string       // URL for spans; "" for none

	close func() error
}

// newTelemetry sends spans to show, and to OTLP if the environment has an endpoint. It serves
// metrics for Prometheus on the address listen.
func newTelemetry(ctx context.Context, listen string, show sdktrace.SpanProcessor) (*telemetry, error) {
	t := &telemetry{otlp: otlpEndpoint()}
	res, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("shop")),
		resource.WithFromEnv(), // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence
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
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // regardless of the environment: spans are few, and printed
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
		nsqotel.WithQueueDuration(), // for the dashboard
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

// otlpEndpoint returns the endpoint for spans in the standard variables of OpenTelemetry, or "".
func otlpEndpoint() string {
	if url := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); url != "" {
		return url
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
}
