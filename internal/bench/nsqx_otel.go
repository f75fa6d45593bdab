package main

import (
	"context"
	"errors"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	nsqotel "github.com/nsqx/nsqx/otel"
)

// runNSQXNoop has telemetry with no-op providers: the cost before a service configures any.
func runNSQXNoop(ctx context.Context, j job, handle func(body []byte)) error {
	return consume(ctx, j, codec.Bytes(), handle, nsqx.WithTelemetry(nsqotel.New(
		nsqotel.WithTracerProvider(tracenoop.NewTracerProvider()),
		nsqotel.WithMeterProvider(metricnoop.NewMeterProvider()),
	)))
}

// runNSQXSDK has metrics and unsampled spans of the OpenTelemetry SDK.
func runNSQXSDK(ctx context.Context, j job, handle func(body []byte)) error {
	return runSDK(ctx, j, handle, sdktrace.NeverSample())
}

// runNSQXSpans samples a span of each message and batches them for an exporter that discards them.
// The SDK drops spans that come too fast.
func runNSQXSpans(ctx context.Context, j job, handle func(body []byte)) error {
	return runSDK(ctx, j, handle, sdktrace.AlwaysSample())
}

func runSDK(ctx context.Context, j job, handle func(body []byte), sampler sdktrace.Sampler) error {
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithBatcher(tracetest.NewNoopExporter()))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	err := consume(ctx, j, codec.Bytes(), handle,
		nsqx.WithTelemetry(nsqotel.New(nsqotel.WithTracerProvider(tracers), nsqotel.WithMeterProvider(meters))))
	return errors.Join(err, tracers.Shutdown(context.WithoutCancel(ctx)), meters.Shutdown(context.WithoutCancel(ctx)))
}
