package main

import (
	"context"
	"time"

	"github.com/nsqio/go-nsq"
)

// openGoNSQ uses go-nsq's defaults.
func openGoNSQ(publish func(p *nsq.Producer, j job, w *worker, n int) error) func(context.Context, job) (func(*worker, int) error, func() error, error) {
	return func(_ context.Context, j job) (func(*worker, int) error, func() error, error) {
		p, err := nsq.NewProducer(j.Addrs[0], nsq.NewConfig())
		if err != nil {
			return nil, nil, err
		}
		p.SetLoggerLevel(nsq.LogLevelMax)
		end := func() error {
			p.Stop()
			return nil
		}
		return func(w *worker, n int) error { return publish(p, j, w, n) }, end, p.Ping()
	}
}

func publishGoNSQ(p *nsq.Producer, j job, w *worker, n int) error {
	return w.each(n, 1, func(int) error { return p.Publish(j.Topic, w.body) })
}

func multiGoNSQ(p *nsq.Producer, j job, w *worker, n int) error {
	bodies := many(w.body)
	return w.each(n, batch, func(n int) error { return p.MultiPublish(j.Topic, bodies[:n]) })
}

func asyncGoNSQ(p *nsq.Producer, j job, w *worker, n int) error {
	most := window / j.Goroutines
	done := make(chan *nsq.ProducerTransaction, most)
	await := func() error {
		t := <-done
		if len(t.Args) > 0 {
			w.end(t.Args[0].(time.Time))
		}
		return t.Error
	}
	publish := func() error {
		if began := w.begin(1); !began.IsZero() {
			return p.PublishAsync(j.Topic, w.body, done, began)
		}
		return p.PublishAsync(j.Topic, w.body, done)
	}
	return pipeline(n, most, publish, await)
}

// pipeline publishes n messages with at most most unanswered. await waits for an answer.
func pipeline(n, most int, publish, await func() error) error {
	unanswered := 0
	for i := 0; i < n || unanswered > 0; {
		if i == n || unanswered == most {
			if err := await(); err != nil {
				return err
			}
			unanswered--
			continue
		}
		if err := publish(); err != nil {
			return err
		}
		i++
		unanswered++
	}
	return nil
}

// many returns the bodies of an MPUB.
func many(body []byte) (bodies [][]byte) {
	for range batch {
		bodies = append(bodies, body)
	}
	return bodies
}
