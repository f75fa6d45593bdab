package main

import (
	"context"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
)

// openNSQX leaves everything as nsqx has it.
func openNSQX(publish func(ctx context.Context, p *nsqx.Producer[[]byte], j job, l *lane, n int) error) func(context.Context, job) (func(*lane, int) error, func() error, error) {
	return func(ctx context.Context, j job) (func(*lane, int) error, func() error, error) {
		p, err := nsqx.NewProducer(j.Topic, codec.Bytes(), nsqx.WithNSQD(j.Addrs...))
		if err != nil {
			return nil, nil, err
		}
		end := func() error { return p.Shutdown(ctx) }
		return func(l *lane, n int) error { return publish(ctx, p, j, l, n) }, end, p.Ping(ctx)
	}
}

func publishNSQX(ctx context.Context, p *nsqx.Producer[[]byte], _ job, l *lane, n int) error {
	return l.each(n, 1, func(int) error { return p.Publish(ctx, l.body) })
}

func multiNSQX(ctx context.Context, p *nsqx.Producer[[]byte], _ job, l *lane, n int) error {
	bodies := many(l.body)
	return l.each(n, batch, func(n int) error {
		_, err := p.PublishAll(ctx, bodies[:n])
		return err
	})
}

func asyncNSQX(ctx context.Context, p *nsqx.Producer[[]byte], j job, l *lane, n int) error {
	most := window / j.Goroutines
	type answer struct {
		began time.Time
		err   error
	}
	answers := make(chan answer, most)
	untimed := func(err error) { answers <- answer{err: err} }
	await := func() error {
		a := <-answers
		l.end(a.began)
		return a.err
	}
	publish := func() error {
		done := untimed
		if began := l.begin(1); !began.IsZero() {
			done = func(err error) { answers <- answer{began, err} }
		}
		return p.PublishAsync(ctx, l.body, done)
	}
	return pipeline(n, most, publish, await)
}
