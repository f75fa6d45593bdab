package main

import (
	"context"

	"github.com/nsqio/go-nsq"
)

func runGoNSQ(ctx context.Context, j job, handle func(body []byte)) error {
	return consumeGoNSQ(ctx, j, func(body []byte) error {
		handle(body)
		return nil
	})
}

// consumeGoNSQ sets what the comparison needs and uses go-nsq's defaults otherwise.
func consumeGoNSQ(ctx context.Context, j job, handle func(body []byte) error) error {
	config := nsq.NewConfig()
	config.MaxInFlight = j.MaxInFlight
	switch j.Layer {
	case layerTLS:
		config.TlsV1, config.TlsConfig = true, insecureTLS()
	case layerSnappy:
		config.Snappy = true
	case layerDeflate:
		config.Deflate = true
	}
	consumer, err := nsq.NewConsumer(j.Topic, channel, config)
	if err != nil {
		return err
	}
	consumer.SetLoggerLevel(nsq.LogLevelMax)
	consumer.AddConcurrentHandlers(nsq.HandlerFunc(func(m *nsq.Message) error {
		return handle(m.Body)
	}), j.Workers)
	if err := consumer.ConnectToNSQDs(j.Addrs); err != nil {
		return err
	}
	<-ctx.Done()
	consumer.Stop()
	<-consumer.StopChan
	return nil
}
