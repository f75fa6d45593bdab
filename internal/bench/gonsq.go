package main

import (
	"context"

	"github.com/nsqio/go-nsq"
)

// runGoNSQ sets what the comparison needs and leaves the rest as go-nsq has it.
func runGoNSQ(ctx context.Context, j job, handle func(body []byte)) error {
	config := nsq.NewConfig()
	config.MaxInFlight = j.MaxInFlight
	switch j.Layer {
	case layerTLS:
		config.TlsV1, config.TlsConfig = true, trusting()
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
		handle(m.Body)
		return nil
	}), j.Workers)
	if err := consumer.ConnectToNSQDs(j.Addrs); err != nil {
		return err
	}
	<-ctx.Done()
	consumer.Stop()
	<-consumer.StopChan
	return nil
}
