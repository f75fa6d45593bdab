package nsqx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// ProducerOption is an option of [NewPublisher] and [NewProducer]. A nil one is
// ignored. An option that is given twice is a fault, but for [WithSendMiddleware]
// and [WithHooks], which add up.
type ProducerOption interface{ applyProducer(*producerConfig) }

type producerOption func(*producerConfig)

func (o producerOption) applyProducer(c *producerConfig) { o(c) }

// producerConfig is what the options of a producer or publisher set.
type producerConfig struct {
	sharedConfig
	publisher    *Publisher
	middleware   []handler.SendMiddleware
	envelope     bool
	waitTimeout  time.Duration
	closeTimeout time.Duration
	atLeastOnce  bool
}

func newProducerConfig(opts []ProducerOption) *producerConfig {
	c := &producerConfig{
		sharedConfig: newSharedConfig(),
		waitTimeout:  10 * time.Second,
		closeTimeout: 10 * time.Second,
	}
	WithProducerOptions(opts...).applyProducer(c)
	return c
}

// ofProducer are the options that go with WithPublisher; the others belong to the
// publisher.
var ofProducer = []string{"WithPublisher", "WithSendMiddleware", "WithEnvelope", "WithCloseTimeout"}

// validate returns every fault, joined.
func (c *producerConfig) validate() error {
	if c.publisher == nil {
		c.add(c.conn.Validate())
		c.validateShared()
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

// WithProducerOptions bundles options, for what the producers of a service share.
func WithProducerOptions(opts ...ProducerOption) ProducerOption {
	return producerOption(func(c *producerConfig) {
		for _, o := range opts {
			if o != nil {
				o.applyProducer(c)
			}
		}
	})
}

// WithPublisher makes a producer publish through p, which it shares with others.
// Besides it only [WithSendMiddleware] and [WithEnvelope] may be given.
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

// WithSendMiddleware wraps what is published, as [WithMiddleware] does what is
// consumed. The first is the outermost; given more than once, they add up. Those of a
// publisher stand outside those of its producers. Telemetry stands outside of all.
func WithSendMiddleware(mw ...handler.SendMiddleware) ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.given["WithSendMiddleware"] = true
		c.middleware = append(c.middleware, mw...)
	})
}

// WithEnvelope lets headers go out in an envelope around the payload: those of
// handler.WithHeader and of middleware, and the trace of [WithTelemetry]. Without
// headers the body stays as it is. All consumers of the topic must be able to
// read it: those of nsqx are, and others call envelope.Split. Defaults to none: headers
// are not sent.
func WithEnvelope() ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.once("WithEnvelope")
		c.envelope = true
	})
}

// WithPublishTimeout sets how long a publish waits for an nsqd when none can be
// reached, unless its ctx ends before: 0 to 1 h; 0 fails when all have failed.
// Defaults to 10 s. (How long one that is connected may take to answer is
// PublishTimeout of conn.Config.)
func WithPublishTimeout(d time.Duration) ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.once("WithPublishTimeout")
		if d < 0 || d > time.Hour {
			c.fault("WithPublishTimeout", fmt.Sprintf("is %v, want 0s to 1h0m0s", d))
		}
		c.waitTimeout = d
	})
}

// WithAtLeastOnce publishes again, to another nsqd if there is one, what an nsqd may have or
// not, instead of returning [ErrUnconfirmed]: a message may then be there
// twice. Defaults to none.
func WithAtLeastOnce() ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.once("WithAtLeastOnce")
		c.atLeastOnce = true
	})
}

// WithCloseTimeout sets how long Close of a producer or publisher waits for what is under way: 0 to
// 1 h. Defaults to 10 s.
func WithCloseTimeout(d time.Duration) ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.once("WithCloseTimeout")
		if d < 0 || d > time.Hour {
			c.fault("WithCloseTimeout", fmt.Sprintf("is %v, want 0s to 1h0m0s", d))
		}
		c.closeTimeout = d
	})
}

// PublishOption is an option of one publish. A nil one is ignored.
type PublishOption interface{ applyPublish(*publishConfig) }

type publishOption func(*publishConfig)

func (o publishOption) applyPublish(c *publishConfig) { o(c) }

// publishConfig is what the options of one publish set.
type publishConfig struct{ ctx context.Context }

// Header sets a header of what one call publishes, as [handler.WithHeader] does for all that is
// published under a ctx; of two with one key the option counts. It needs [WithEnvelope].
func Header(key, value string) PublishOption {
	return publishOption(func(c *publishConfig) { c.ctx = handler.WithHeader(c.ctx, key, value) })
}

// withOptions returns the ctx of a publish.
func withOptions(ctx context.Context, opts []PublishOption) context.Context {
	if len(opts) == 0 {
		return ctx
	}
	c := publishConfig{ctx}
	for _, o := range opts {
		if o != nil {
			o.applyPublish(&c)
		}
	}
	return c.ctx
}
