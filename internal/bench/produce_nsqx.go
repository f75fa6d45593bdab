package main

import (
	"context"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
)

// openNSQX uses nsqx's defaults.
func openNSQX(publish func(ctx context.Context, p *nsqx.Producer[[]byte], j job, w *worker, n int) error) func(context.Context, job) (func(*worker, int) error, func() error, error) {
	return func(ctx context.Context, j job) (func(*worker, int) error, func() error, error) {
		p, err := nsqx.NewProducer(j.Topic, codec.Bytes(), nsqx.WithNSQD(j.Addrs...))
		if err != nil {
			return nil, nil, err
		}
		end := func() error { return p.Shutdown(ctx) }
		return func(w *worker, n int) error { return publish(ctx, p, j, w, n) }, end, p.Ping(ctx)
	}
}

func publishNSQX(ctx context.Context, p *nsqx.Producer[[]byte], _ job, w *worker, n int) error {
	return w.each(n, 1, func(int) error { return p.Publish(ctx, w.body) })
}

func multiNSQX(ctx context.Context, p *nsqx.Producer[[]byte], _ job, w *worker, n int) error {
	bodies := many(w.body)
	return w.each(n, batch, func(n int) error {
		_, err := p.PublishAll(ctx, bodies[:n])
		return err
	})
}

func asyncNSQX(ctx context.Context, p *nsqx.Producer[[]byte], j job, w *worker, n int) error {
	most := window / j.Goroutines
	type answer struct {
		began time.Time
		err   error
	}
	answers := make(chan answer, most)
	untimed := func(err error) { answers <- answer{err: err} }
	await := func() error {
		a := <-answers
		w.end(a.began)
		return a.err
	}
	publish := func() error {
		done := untimed
		if began := w.begin(1); !began.IsZero() {
			done = func(err error) { answers <- answer{began, err} }
		}
		return p.PublishAsync(ctx, w.body, done)
	}
	return pipeline(n, most, publish, await)
}
