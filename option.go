package nsqx

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
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

// OptionError is one fault of what was passed to a constructor.
type OptionError struct {
	Option string // name of the option or argument
	Reason string // what is wrong, and what is allowed
}

func (e *OptionError) Error() string { return fmt.Sprintf("nsqx: %s %s", e.Option, e.Reason) }

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

// WithTelemetry lets t observe every message and the consumer's gauges. If t
// also implements hooks, these are called (see [WithHooks]).
func WithTelemetry(t Telemetry) Option {
	return sharedOption(func(c *sharedConfig) {
		c.once("WithTelemetry")
		if t == nil {
			c.fault("WithTelemetry", "got nil")
			return
		}
		c.telemetry = t
		c.hooks.add(t)
	})
}

// WithHooks registers values that implement some of [ConnectHook],
// [DisconnectHook], [DialErrorHook], [RefusedHook], [LookupHook], [BackoffHook],
// [OverdueHook] and [SettleHook]. One that implements none of them is a fault. Given more than once, hooks add up; they
// are called in order.
func WithHooks(hooks ...any) Option {
	return sharedOption(func(c *sharedConfig) {
		for _, h := range hooks {
			if !c.hooks.add(h) {
				c.fault("WithHooks", fmt.Sprintf("got a %T, which implements no hook", h))
			}
		}
	})
}

// WithMessageTimeout sets how long nsqd waits for an answer before it delivers
// a message to someone else: 1 s to 15 min in whole milliseconds, and at most
// the server's --max-msg-timeout. Defaults to the server's --msg-timeout (60 s).
func WithMessageTimeout(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMessageTimeout")
		if d < time.Second || d > 15*time.Minute || d%time.Millisecond != 0 {
			c.fault("WithMessageTimeout", fmt.Sprintf("is %v, want 1s to 15m0s in whole milliseconds", d))
			return
		}
		c.sub.MessageTimeout = d
	})
}

// WithSampleRate makes nsqd deliver only this percentage of the channel's
// messages: 1 to 99. The others are lost for the whole channel. Defaults to all.
func WithSampleRate(percent int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithSampleRate")
		if c.inRange("WithSampleRate", percent, 1, 99) {
			c.sub.SampleRate = percent
		}
	})
}

// WithMiddleware wraps the handler. The first is the outermost. Given more than
// once, later ones are further in. Middleware sees errors, not panics, and sees
// a payload that does not decode as a [*handler.DecodeError]; what nsqd will hear is
// decided outside of it (see [SettleHook]).
func WithMiddleware(mw ...handler.Middleware) ConsumerOption {
	return consumerOption(func(c *consumerConfig) { c.middleware = append(c.middleware, mw...) })
}

// WithRetry sets how long a failed message waits. Defaults to
// retry.Exponential(time.Second, 10*time.Minute).
func WithRetry(p retry.Policy) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithRetry")
		if p == nil {
			c.fault("WithRetry", "got nil")
			return
		}
		c.retry = p
		if v, ok := p.(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				c.fault("WithRetry", "has a faulty policy: "+err.Error())
			}
		}
	})
}

// WithErrors maps the errors of a domain to the vocabulary of package retry:
//
//	nsqx.WithErrors(retry.Match(
//		retry.Is(sql.ErrNoRows, retry.Permanent),
//		retry.As(func(e *QuotaError) error { return retry.After(e.Wait, e) }),
//	))
//
// An error for which mapping returns nil stays as it is: a mapping never makes
// a success of a failure. It is called by many goroutines at once.
func WithErrors(mapping func(error) error) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithErrors")
		if mapping == nil {
			c.fault("WithErrors", "got nil")
		}
		c.errors = mapping
	})
}

// WithMaxAttempts gives a message up when its handler fails at the nth delivery
// or later: 1 to 65535. nsqd counts deliveries, also those that no handler saw,
// so leave room. It needs a dead letter, or [WithDiscard]. Defaults to no limit.
func WithMaxAttempts(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMaxAttempts")
		c.inRange("WithMaxAttempts", n, 1, 1<<16-1)
		c.maxAttempts = n
	})
}

// WithMaxAge gives a message up when its handler fails and nsqd accepted it
// longer ago than d, by nsqd's clock against ours. It needs a dead letter, or
// [WithDiscard]. Defaults to no limit.
func WithMaxAge(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMaxAge")
		if d <= 0 {
			c.fault("WithMaxAge", fmt.Sprintf("is %v, want more than 0", d))
		}
		c.maxAge = d
	})
}

// WithDeadLetter publishes the messages that are given up to a topic: to the nsqd
// that delivered the message, or to another one if that fails. The message is
// finished when the publish is confirmed, and requeued otherwise. (A message can so
// be published twice.)
//
// A dead letter has the body as it came, in an envelope with the headers that the
// message had, and with those that say where it comes from and why: see the keys in
// package envelope, [WithPlainDeadLetter] and [Redrive].
func WithDeadLetter(topic string) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.giveUpOnce("WithDeadLetter")
		c.deadLetterTopic = topic
	})
}

// WithPlainDeadLetter publishes dead letters without an envelope: the payload alone,
// for a topic whose consumers cannot read one. Defaults to none.
func WithPlainDeadLetter() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithPlainDeadLetter")
		c.plainDeadLetter = true
	})
}

// WithDeadLetterFunc hands the messages that are given up to fn, with the error
// they are given up for. nil finishes the message, an error requeues it. ctx
// does not end with the handler's, and fn may take as long as nsqd's
// max-msg-timeout: the message is touched meanwhile.
func WithDeadLetterFunc(fn func(ctx context.Context, m *handler.Message, err error) error) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.giveUpOnce("WithDeadLetterFunc")
		if fn == nil {
			c.fault("WithDeadLetterFunc", "got nil")
		}
		c.deadLetterFunc = fn
	})
}

// WithDiscard finishes the messages that are given up, and keeps nothing of
// them. They are counted as dropped.
func WithDiscard() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.giveUpOnce("WithDiscard")
		c.discard = true
	})
}

// WithMaxRequeueDelay is the longest delay that is sent with a REQ. It should
// be nsqd's --max-req-timeout, which nsqd does not tell: a longer delay is cut
// there silently. Longer delays of a policy are cut, and warned about once. 1 ms at
// least. Defaults to 1 h.
func WithMaxRequeueDelay(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMaxRequeueDelay")
		if d < time.Millisecond {
			c.fault("WithMaxRequeueDelay", fmt.Sprintf("is %v, want 1ms or more", d))
		}
		c.maxRequeueDelay = d
	})
}

// WithShutdownTimeout sets how long running handlers may go on after the ctx of
// Run was cancelled, before their own contexts are ended. 0 gives all messages
// back at once. Defaults to 20 s. Run returns at most two seconds later.
func WithShutdownTimeout(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithShutdownTimeout")
		if d < 0 {
			c.fault("WithShutdownTimeout", fmt.Sprintf("is %v, want 0 or more", d))
		}
		c.shutdownTimeout = d
	})
}
