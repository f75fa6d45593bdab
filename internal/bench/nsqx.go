package main

import (
	"context"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// runNSQX uses codec.Bytes, which copies each body for the handler, as a service would.
func runNSQX(ctx context.Context, j job, handle func(body []byte)) error {
	return consume(ctx, j, codec.Bytes(), handle)
}

// runNSQXBatched lets nsqd collect messages, which costs less CPU.
func runNSQXBatched(ctx context.Context, j job, handle func(body []byte)) error {
	return consume(ctx, j, codec.Bytes(), handle, nsqx.WithDelivery(nsqx.Batched))
}

// runNSQXFixed keeps RDY constant, as other clients do.
func runNSQXFixed(ctx context.Context, j job, handle func(body []byte)) error {
	return consume(ctx, j, codec.Bytes(), handle, nsqx.WithFixedRDY())
}

// runNSQXLent gives the handler the body itself, as the bare loop does, so only nsqx's own cost is
// measured.
func runNSQXLent(ctx context.Context, j job, handle func(body []byte)) error {
	return consume(ctx, j, lent(), handle)
}

func lent() codec.Codec[[]byte] {
	return codec.Func(
		func(dst, body []byte) ([]byte, error) { return append(dst, body...), nil },
		func(body []byte) ([]byte, error) { return body, nil },
	)
}

// consume sets what the comparison needs and uses nsqx's defaults otherwise. The default chain,
// which recovers from panics and applies the retry policy, is part of the measurement.
func consume[T any](ctx context.Context, j job, c codec.Codec[T], handle func(T), opts ...nsqx.ConsumerOption) error {
	consumer, err := nsqx.NewConsumer(j.Topic, channel, c,
		func(_ context.Context, v T) error {
			handle(v)
			return nil
		},
		append(opts, j.options()...)...,
	)
	if err != nil {
		return err
	}
	return consumer.Run(ctx)
}

// batchSize is the size of the batches of runNSQXBatch, unless fewer messages may be in flight.
const batchSize = 500

// runNSQXBatch gives the handler batches, whose bodies it reads in place.
func runNSQXBatch(ctx context.Context, j job, handle func(body []byte)) error {
	size := batchSize
	if j.MaxInFlight > 0 {
		size = min(size, j.MaxInFlight)
	}
	consumer, err := nsqx.NewBatchConsumer(j.Topic, channel, lent(),
		func(_ context.Context, b *handler.Batch[[]byte]) error {
			for _, body := range b.Values() {
				handle(body)
			}
			return nil
		},
		append(j.options(), nsqx.WithBatch(size, 5*time.Millisecond))...,
	)
	if err != nil {
		return err
	}
	return consumer.Run(ctx)
}

// options are those that all clients of a job have in common.
func (j job) options() []nsqx.ConsumerOption {
	opts := []nsqx.ConsumerOption{nsqx.WithNSQD(j.Addrs...), nsqx.WithConcurrency(j.Workers)}
	if j.MaxInFlight > 0 {
		opts = append(opts, nsqx.WithMaxInFlight(j.MaxInFlight))
	}
	switch j.Layer {
	case layerTLS:
		opts = append(opts, nsqx.WithConn(conn.Config{TLS: insecureTLS()}))
	case layerSnappy:
		opts = append(opts, nsqx.WithConn(conn.Config{Compression: conn.Snappy}))
	case layerDeflate:
		opts = append(opts, nsqx.WithConn(conn.Config{Compression: conn.Deflate}))
	}
	return opts
}
