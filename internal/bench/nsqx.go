package main

import (
	"context"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
)

// runNSQX consumes as a service would: codec.Bytes gives the handler a copy of each body, to keep.
func runNSQX(ctx context.Context, j job, handle func(body []byte)) error {
	return consume(ctx, j, codec.Bytes(), handle)
}

// runNSQXFixed keeps RDY as it is, as other clients do.
func runNSQXFixed(ctx context.Context, j job, handle func(body []byte)) error {
	return consume(ctx, j, codec.Bytes(), handle, fixedRDY()...)
}

// fixedRDY makes nsqx keep RDY: a share of MaxInFlight for each connection, come what may.
func fixedRDY() []nsqx.ConsumerOption { return []nsqx.ConsumerOption{nsqx.WithFixedRDY()} }

// runNSQXLent shows the body itself to a handler that keeps nothing of it, as the bare loop does: what is left is
// nsqx's own.
func runNSQXLent(ctx context.Context, j job, handle func(body []byte)) error {
	lent := codec.Func(
		func(dst, body []byte) ([]byte, error) { return append(dst, body...), nil },
		func(body []byte) ([]byte, error) { return body, nil },
	)
	return consume(ctx, j, lent, handle)
}

// consume sets what the comparison needs and leaves the rest as nsqx has it.
func consume(ctx context.Context, j job, c codec.Codec[[]byte], handle func(body []byte), opts ...nsqx.ConsumerOption) error {
	opts = append(opts, nsqx.WithNSQD(j.Addrs...), nsqx.WithConcurrency(j.Workers))
	if j.MaxInFlight > 0 {
		opts = append(opts, nsqx.WithMaxInFlight(j.MaxInFlight))
	}
	consumer, err := nsqx.NewConsumer(j.Topic, channel, c,
		func(_ context.Context, body []byte) error {
			handle(body)
			return nil
		},
		opts...,
	)
	if err != nil {
		return err
	}
	return consumer.Run(ctx)
}
