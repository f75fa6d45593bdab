package nsqx

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/publish"
)

// identity holds the functions of WithMessageID and WithKey: a func(T) string or nil.
type identity struct{ id, key any }

// WithMessageID gives each message an id of its value, such as the number of an order, instead of a
// UUID: see UID of [handler.Message]. A value that is published again then has the same id, so that
// consumers can drop one of the two. "" means a UUID. An id has at most 255 bytes of UTF-8 and no
// control characters; any other fails the publish with [ErrRejected], and so does a panic of id. T
// is the producer's; id is called concurrently. Implies [WithEnvelope]. Defaults to UUIDs of version
// 7, which sort by the time of the publish.
func WithMessageID[T any](id func(T) string) ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.once("WithMessageID")
		if id == nil {
			c.fault("WithMessageID", "got nil")
			return
		}
		c.identity.id, c.envelope = id, true
	})
}

// WithKey says what a message belongs to, such as an account: see Key of [handler.Message]. "" says
// nothing. What holds for the id of [WithMessageID] holds for a key. Implies [WithEnvelope]. Defaults
// to none.
func WithKey[T any](key func(T) string) ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.once("WithKey")
		if key == nil {
			c.fault("WithKey", "got nil")
			return
		}
		c.identity.key, c.envelope = key, true
	})
}

// WithTTL lets messages expire: no handler gets one that was published more than d ago, or, if its
// publish was delayed, more than d after it was due. Consumers of nsqx skip it by the clock of their
// host: see [WithSkipOlder]. A message that is being handled is not interrupted. More than 0, up to
// 100 years of 365 days. See also [TTL]. Implies [WithEnvelope]. Defaults to no end.
func WithTTL(d time.Duration) ProducerOption {
	return producerOption(func(c *producerConfig) {
		c.once("WithTTL")
		if d <= 0 || d > envelope.MaxAhead {
			c.fault("WithTTL", fmt.Sprintf("is %v, want more than 0s, up to %v", d, envelope.MaxAhead))
			return
		}
		c.ttl, c.envelope = d, true
	})
}

// refuseValueOptions adds a fault for each option about messages, which only a producer can have.
func (c *producerConfig) refuseValueOptions() {
	for _, option := range []string{"WithMessageID", "WithKey", "WithTTL"} {
		if c.given[option] {
			c.fault(option, "is for NewProducer, whose messages it is about")
		}
	}
}

// PublishOption is an option of one publish. A nil option is ignored; of two of a kind the last
// counts.
type PublishOption interface{ applyPublish(*publishConfig) }

type publishOption func(*publishConfig)

func (o publishOption) applyPublish(c *publishConfig) { o(c) }

// publishConfig holds the options of one publish.
type publishConfig struct {
	topic   string
	ctx     context.Context
	headers []header
	delay   time.Duration
	due     time.Time     // of At; zero: the end of delay
	ttl     time.Duration // 0: that of the producer; below: none
	fault   error
}

type header struct{ key, value string }

// Header sets a header of one publish, of each of its messages. It replaces one with the same key,
// such as that of [handler.WithHeader], which sets a header of all publishes under a ctx. Requires
// [WithEnvelope].
func Header(key, value string) PublishOption {
	return publishOption(func(c *publishConfig) { c.headers = append(c.headers, header{key, value}) })
}

// At delays one publish until t, as [Producer.PublishAt] does.
func At(t time.Time) PublishOption {
	return publishOption(func(c *publishConfig) { c.at(t) })
}

// TTL is [WithTTL] for one publish. 0 means no end. A negative d, and one above 100 years of 365
// days, fails the publish with [ErrRejected]. Requires [WithEnvelope].
func TTL(d time.Duration) PublishOption {
	return publishOption(func(c *publishConfig) {
		switch {
		case d < 0 || d > envelope.MaxAhead:
			c.fault = &OptionError{Option: "TTL", Reason: fmt.Sprintf("is %v, want 0s to %v", d, envelope.MaxAhead)}
		case d == 0:
			c.ttl = -1
		default:
			c.ttl = d
		}
	})
}

// at sets the delay until t.
func (c *publishConfig) at(t time.Time) {
	if t.IsZero() {
		c.fault = &OptionError{Option: "At", Reason: "is the zero time; leave it out to publish now"}
		return
	}
	if c.delay, c.due = max(time.Until(t), 0), t; c.delay > envelope.MaxAhead {
		c.fault = &OptionError{Option: "At", Reason: fmt.Sprintf("is %s, want 100 years ahead at most", t.Format(time.RFC3339))}
	}
}

// withOptions applies the options of a publish to its ctx and delay.
func withOptions(ctx context.Context, topic string, delay time.Duration, opts []PublishOption) publishConfig {
	ctx = guard.Context(ctx)
	if len(opts) == 0 {
		return publishConfig{ctx: ctx, topic: topic, delay: delay}
	}
	c := publishConfig{ctx: ctx, topic: topic, delay: delay}
	for _, o := range opts {
		if o != nil {
			o.applyPublish(&c)
		}
	}
	return c
}

func (c *publishConfig) notSent(why error) error {
	return &PublishError{Kind: ErrNotSent, Topic: c.topic, Err: why}
}

// schedule sets the delay of a publish, and the headers that say when its messages may be handled.
func (p *Producer[T]) schedule(out *handler.Outgoing, c publishConfig) error {
	out.Delay = c.delay
	switch {
	case c.fault != nil:
		return c.fault
	case !p.envelope && c.ttl > 0:
		return &OptionError{Option: "TTL", Reason: "needs WithEnvelope, so that consumers hear of it"}
	case !p.envelope || c.delay < 0:
		return nil
	}
	ttl, due := cmp.Or(c.ttl, p.ttl), c.due
	if due.IsZero() || c.delay == 0 {
		due = time.Now().Add(min(c.delay, envelope.MaxAhead+time.Hour)) // no more is accepted
	}
	if c.delay > 0 {
		_ = out.Headers.Set(envelope.NotBefore, envelope.FormatTime(due)) // cannot fail
	}
	if ttl > 0 {
		_ = out.Headers.Set(envelope.Expires, envelope.FormatTime(due.Add(ttl)))
	}
	return nil
}

// describe sets the headers of a message: those that the functions of the user make of its value, and
// those of the publish.
func (p *Producer[T]) describe(headers *envelope.Writer, own []header, v T) error {
	if p.id == nil && p.key == nil && len(own) == 0 { // nearly always
		return nil
	}
	headers.Grow(2 + len(own)) // an id is added later if there is none
	if err := setOf(headers, envelope.ID, p.id, v); err != nil {
		return err
	}
	if err := setOf(headers, envelope.Key, p.key, v); err != nil {
		return err
	}
	for _, h := range own {
		if err := headers.Set(h.key, h.value); err != nil {
			return err
		}
	}
	return nil
}

// oneID returns an error if n messages would have the same id.
func oneID(own []header, n int) error {
	for _, h := range own {
		if n > 1 && strings.EqualFold(h.key, envelope.ID) {
			return publish.SameID(n)
		}
	}
	return nil
}

func setOf[T any](headers *envelope.Writer, key string, f func(T) string, v T) error {
	if f == nil {
		return nil
	}
	value, err := guard.Value(func() (string, error) { return f(v), nil })
	if err != nil {
		return fmt.Errorf("nsqx: the function for the header %s: %w", key, err)
	}
	if value == "" {
		return nil
	}
	if err := envelope.CheckID(key, value); err != nil {
		return err
	}
	return headers.Set(key, value)
}

// ofValues returns the function of an option, which must be one of the producer's values; nil if the
// option is not given.
func ofValues[T any](cfg *producerConfig, option string, f any) func(T) string {
	of, ok := f.(func(T) string)
	if f != nil && !ok {
		cfg.fault(option, fmt.Sprintf("got a %T, want a %T, which takes the producer's values", f, of))
	}
	return of
}
