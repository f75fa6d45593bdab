package nsqx

import (
	"log/slog"

	"github.com/nsqx/nsqx/conn"
)

// ConsumerOption is an option of [NewConsumer]. A nil option is ignored. Giving an option twice is
// an error, except [WithMiddleware] and [WithHooks], which add up.
type ConsumerOption interface{ applyConsumer(*consumerConfig) }

// Option is an option that consumers, producers, publishers and [Redrive] share.
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

// WithOptions combines options that consumers and producers share.
func WithOptions(opts ...Option) Option {
	return sharedOption(func(c *sharedConfig) {
		for _, o := range opts {
			if o != nil {
				o.applyShared(c)
			}
		}
	})
}

// WithConsumerOptions combines options that consumers share.
func WithConsumerOptions(opts ...ConsumerOption) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		for _, o := range opts {
			if o != nil {
				o.applyConsumer(c)
			}
		}
	})
}

// WithConn configures connections: TLS, AUTH, compression, timeouts, limits. Defaults to the zero
// [conn.Config].
func WithConn(cfg conn.Config) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithConn")
		c.conn = cfg
	})
}

// WithLogger sets the logger for what an operator should know: transitions of connections, sources of
// nsqds, breaker and drain, and failed messages (see [WithoutFailureLog]); for a line a message see
// middleware.Log. What goes on is repeated once a minute at most, and many alike are one line, with
// the number of the others. A normal day leaves a few lines. docs/guide/operating.md has them all.
//
// Lines are written by one goroutine of the service, so a slow logger delays no message; lines behind
// it are dropped and counted in Stats.EventsDropped. A logger that panics loses the record and
// changes nothing else. Defaults to slog.Default() at the time of the constructor.
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

// WithTelemetry lets t observe every message and the statistics of a service, and calls the hooks
// of t after those of [WithHooks]. A method of t that panics is logged, and observes nothing; its
// stop functions have half a second. Defaults to none.
func WithTelemetry(t Telemetry) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithTelemetry")
		if t == nil {
			c.fault("WithTelemetry", "got nil")
			return
		}
		c.telemetry = t
	})
}

// WithHooks calls functions on events of a service: see [observe.Hooks]. Hooks of several calls add
// up, and are called in order. Hooks without a function are an error.
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
