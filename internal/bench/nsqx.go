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
func consume(ctx context.Context, j job, c codec.Codec[[]byte], handle func(body []byte)) error {
	consumer, err := nsqx.NewConsumer("t", "c", c,
		func(_ context.Context, body []byte) error {
			handle(body)
			return nil
		},
		nsqx.WithNSQD(j.Addr),
		nsqx.WithConcurrency(j.Workers),
		nsqx.WithMaxInFlight(j.MaxInFlight),
	)
	if err != nil {
		return err
	}
	return consumer.Run(ctx)
}
