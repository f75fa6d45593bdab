package nsqx

import (
	"log/slog"

	"github.com/nsqx/nsqx/conn"
)

// ConsumerOption is an option of [NewConsumer]. A nil one is ignored. An option
// that is given twice is a fault, but for [WithMiddleware] and [WithHooks],
// which add up.
type ConsumerOption interface{ applyConsumer(*consumerConfig) }

// Option is an option that services share, whatever they do with NSQ.
type Option interface {
	ConsumerOption
	ProducerOption
	RedriveOption
	applyShared(*sharedConfig)
}

type sharedOption func(*sharedConfig)

func (o sharedOption) applyShared(c *sharedConfig)     { o(c) }
func (o sharedOption) applyConsumer(c *consumerConfig) { o(&c.sharedConfig) }
func (o sharedOption) applyProducer(c *producerConfig) { o(&c.sharedConfig) }

type consumerOption func(*consumerConfig)

func (o consumerOption) applyConsumer(c *consumerConfig) { o(c) }

// WithOptions bundles options, for what the consumers and producers of a
// service share.
func WithOptions(opts ...Option) Option {
	return sharedOption(func(c *sharedConfig) {
		for _, o := range opts {
			if o != nil {
				o.applyShared(c)
			}
		}
	})
}

// WithConsumerOptions bundles options, for what the consumers of a service share.
func WithConsumerOptions(opts ...ConsumerOption) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		for _, o := range opts {
			if o != nil {
				o.applyConsumer(c)
			}
		}
	})
}

// WithConn sets the environment's part of the wire: TLS, AUTH, compression,
// timeouts. Defaults to the zero [conn.Config].
func WithConn(cfg conn.Config) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithConn")
		c.conn = cfg
	})
}

// WithLogger sets where connections that come and go, dead letters and what
// else an operator should know are logged. Defaults to slog.Default(), as it is
// when the consumer is made. Messages are not logged one by one: see
// middleware.Log.
func WithLogger(l *slog.Logger) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithLogger")
		if l == nil {
			c.fault("WithLogger", "got nil; leave it out for slog.Default(), or use slog.New(slog.DiscardHandler)")
			return
		}
		c.logger = l
	})
}

// WithTelemetry lets t observe every message and the statistics of a service, and calls its hooks.
// Defaults to none.
func WithTelemetry(t Telemetry) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithTelemetry")
		if t == nil {
			c.fault("WithTelemetry", "got nil")
			return
		}
		c.telemetry = t
		c.hooks = append(c.hooks, t.Hooks())
	})
}

// WithHooks calls functions when something happens: see [observe.Hooks]. Given more than once, hooks
// add up; they are called in order.
func WithHooks(hooks ...Hooks) Option {
	return sharedOption(func(c *sharedConfig) {
		for _, h := range hooks {
			if h.IsZero() {
				c.fault("WithHooks", "got Hooks in which no function is set")
			}
			c.hooks = append(c.hooks, h)
		}
	})
}
