package nsqx

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// ProducerOption is an option of [NewPublisher] and [NewProducer]. A nil option is ignored. Giving
// an option twice is an error, except [WithSendMiddleware] and [WithHooks], which add up.
type ProducerOption interface{ applyProducer(*producerConfig) }

type producerOption func(*producerConfig)

func (o producerOption) applyProducer(c *producerConfig) { o(c) }

// producerConfig holds the options of a producer or publisher.
type producerConfig struct {
	sharedConfig
	defaults     []ProducerOption
	publisher    *Publisher
	middleware   []handler.SendMiddleware
	envelope     bool
	identity     identity
	ttl          time.Duration // 0: none
	waitTimeout  time.Duration
	closeTimeout time.Duration
	atLeastOnce  bool
}

func newProducerConfig(opts []ProducerOption) *producerConfig {
	c := bareProducerConfig()
	producerOptions(opts).applyProducer(c)
	applyDefaults(&c.sharedConfig, c.defaults, func(o ProducerOption) *sharedConfig {
		probe := bareProducerConfig()
		o.applyProducer(probe)
		return &probe.sharedConfig
	}, func(o ProducerOption) { o.applyProducer(c) })
	return c
}

// bareProducerConfig returns the configuration of a producer without options.
func bareProducerConfig() *producerConfig {
	return &producerConfig{
		sharedConfig: newSharedConfig(),
		waitTimeout:  10 * time.Second,
		closeTimeout: 10 * time.Second,
	}
}

// ofProducer are the options that may be combined with WithPublisher. The others belong to the
// publisher.
var ofProducer = []string{"WithPublisher", "WithSendMiddleware", "WithEnvelope", "WithCloseTimeout", "WithMessageID", "WithKey", "WithTTL"}

// validate returns every fault, joined.
func (c *producerConfig) validate() error {
	if !c.given["WithPublisher"] {
		c.add(c.conn.Validate())
		c.validateShared()
		return errors.Join(c.faults...)
	}
	if c.publisher == nil { // the others may be right
		return errors.Join(c.faults...)
	}
	var others []string
	for option := range c.given {
		if !slices.Contains(ofProducer, option) {
			others = append(others, option)
		}
	}
	slices.Sort(others)
	for _, option := range others {
		c.fault(option, "goes with NewPublisher: WithPublisher is given, too")
	}
	return errors.Join(c.faults...)
}

// WithProducerOptions combines options that producers share.
func WithProducerOptions(opts ...ProducerOption) ProducerOption { return producerOptions(opts) }

// WithProducerDefaults is [WithDefaults] for producers and publishers. Beside [WithPublisher] those of
// a publisher are ignored.
func WithProducerDefaults(opts ...ProducerOption) ProducerOption { return producerDefaults(opts) }

type (
	producerOptions  []ProducerOption
	producerDefaults []ProducerOption
)

func (o producerOptions) applyProducer(c *producerConfig) {
	for _, o := range o {
		if o != nil {
			o.applyProducer(c)
		}
	}
}

func (o producerDefaults) applyProducer(c *producerConfig) {
	c.defaults = append(c.defaults, flatten([]ProducerOption(o))...)
}

// WithPublisher makes a producer publish through p, which other producers may share. Only
// [WithSendMiddleware], [WithEnvelope], [WithMessageID], [WithKey], [WithTTL] and [WithCloseTimeout]
// may be combined with it. Defaults to a publisher of the producer's own.
func WithPublisher(p *Publisher) ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.once("WithPublisher")
		if p == nil {
			c.fault("WithPublisher", "got nil")
			return
		}
		c.publisher = p
	})
}

// WithSendMiddleware wraps publishes. The first is the outermost; later calls add further in.
// Middleware of a publisher is outside of its producers', telemetry outside of both.
func WithSendMiddleware(mw ...handler.SendMiddleware) ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.given["WithSendMiddleware"] = true
		c.middleware = append(c.middleware, mw...)
	})
}

// WithEnvelope sends headers in an envelope around the payload: those of handler.WithHeader,
// [Header] and middleware, and the trace of [WithTelemetry]. Each message gets an id, a UUID of
// version 7 unless [WithMessageID] gives another, and the time of its publish: see UID and
// PublishedAt of [handler.Message]. All consumers of the topic must be able to read an envelope:
// nsqx's can, others call envelope.Split. Defaults to off: a body is the payload alone, without
// headers, id and time.
//
// Headers that change what becomes of the message, such as its id (see envelope.Writer.Required), are
// never left out: without room for them, or without WithEnvelope, the publish fails with
// [ErrRejected]. The others are, beyond what nsqd accepts.
//
// With or without WithEnvelope, a payload that begins like an envelope is sent in one, so that it
// arrives as it is. To publish an envelope, set Raw of [handler.Outgoing].
func WithEnvelope() ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.once("WithEnvelope")
		c.envelope = true
	})
}

// WithPublishTimeout sets how long a publish waits while no nsqd is connected, unless its ctx ends
// first: 0 to 1 h. With 0 it fails when every nsqd has failed. (PublishTimeout of [conn.Config]
// limits the wait for a connected nsqd.) Defaults to 10 s.
func WithPublishTimeout(d time.Duration) ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.once("WithPublishTimeout")
		if d < 0 || d > time.Hour {
			c.fault("WithPublishTimeout", fmt.Sprintf("is %v, want 0s to 1h0m0s", d))
		}
		c.waitTimeout = d
	})
}

// WithAtLeastOnce publishes an unconfirmed message again, to another nsqd if there is one, instead
// of returning [ErrUnconfirmed]. It may then exist twice. Defaults to off.
func WithAtLeastOnce() ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.once("WithAtLeastOnce")
		c.atLeastOnce = true
	})
}

// WithCloseTimeout sets how long Close waits for publishes under way: 0 to 1 h. Defaults to 10 s.
func WithCloseTimeout(d time.Duration) ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.once("WithCloseTimeout")
		if d < 0 || d > time.Hour {
			c.fault("WithCloseTimeout", fmt.Sprintf("is %v, want 0s to 1h0m0s", d))
		}
		c.closeTimeout = d
	})
}
