package main

import (
	"context"
	"time"

	"github.com/nsqio/go-nsq"
)

// openGoNSQ leaves everything as go-nsq has it.
func openGoNSQ(publish func(p *nsq.Producer, j job, l *lane, n int) error) func(context.Context, job) (func(*lane, int) error, func() error, error) {
	return func(_ context.Context, j job) (func(*lane, int) error, func() error, error) {
		p, err := nsq.NewProducer(j.Addrs[0], nsq.NewConfig())
		if err != nil {
			return nil, nil, err
		}
		p.SetLoggerLevel(nsq.LogLevelMax)
		end := func() error {
			p.Stop()
			return nil
		}
		return func(l *lane, n int) error { return publish(p, j, l, n) }, end, p.Ping()
	}
}

func publishGoNSQ(p *nsq.Producer, j job, l *lane, n int) error {
	return l.each(n, 1, func(int) error { return p.Publish(j.Topic, l.body) })
}

func multiGoNSQ(p *nsq.Producer, j job, l *lane, n int) error {
	bodies := many(l.body)
	return l.each(n, batch, func(n int) error { return p.MultiPublish(j.Topic, bodies[:n]) })
}

func asyncGoNSQ(p *nsq.Producer, j job, l *lane, n int) error {
	most := window / j.Goroutines
	done := make(chan *nsq.ProducerTransaction, most)
	await := func() error {
		t := <-done
		if len(t.Args) > 0 {
			l.end(t.Args[0].(time.Time))
		}
		return t.Error
	}
	publish := func() error {
		if began := l.begin(1); !began.IsZero() {
			return p.PublishAsync(j.Topic, l.body, done, began)
		}
		return p.PublishAsync(j.Topic, l.body, done)
	}
	return pipeline(n, most, publish, await)
}

// pipeline publishes n messages, of which most may be unanswered at a time. await waits for an answer.
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

// many are as many bodies as an MPUB takes here.
func many(body []byte) (bodies [][]byte) {
	for range batch {
		bodies = append(bodies, body)
	}
	return bodies
}
