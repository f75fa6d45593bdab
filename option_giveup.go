package nsqx

import (
	"context"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/consume"
)

// WithDeadLetter publishes messages that are given up to a topic: to the nsqd that delivered the
// message, or else to another one. The message is finished when that is confirmed, and requeued
// otherwise, so a dead letter may be published twice.
//
// A dead letter is the original body in an envelope, with the headers of the message and those that
// name its origin and the error, whether or not its producer has [WithEnvelope]: see package envelope
// and [Redrive]. Consumers on another client need [WithPlainDeadLetter]. A message that was too large
// to be read (see [Consumer]) stays with nsqd.
//
// In an outage hardly a message is given up (see [Backoff]), so an alert on the topic tells of bad
// messages. For outages use BackoffLevel of [Stats].
func WithDeadLetter(topic string) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.giveUp("WithDeadLetter", consume.DeadLetterTopic{Topic: topic})
	})
}

// WithPlainDeadLetter publishes dead letters as the payload alone, for consumers that cannot read
// an envelope. An empty payload, which a message with headers may have, is published in an envelope
// all the same, since nsqd accepts no empty body. Requires [WithDeadLetter]. Defaults to off.
func WithPlainDeadLetter() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithPlainDeadLetter")
		c.plainDeadLetter = true
	})
}

// WithDeadLetterFunc passes messages that are given up, and their error, to fn. nil finishes the
// message, an error requeues it. ctx outlives the handler's. fn may take as long as nsqd's
// max-msg-timeout: the message is touched meanwhile. The body is nil if it was too large to be read;
// err is then a [*conn.SizeError].
func WithDeadLetterFunc(fn func(ctx context.Context, m *handler.Message, err error) error) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.giveUp("WithDeadLetterFunc", consume.DeadLetterFunc(fn))
		if fn == nil {
			c.fault("WithDeadLetterFunc", "got nil")
		}
	})
}

// WithCrashGuard gives a message up, unhandled, at the nth delivery or later: its handler may kill
// the process, so that no run of it ever ends. 2 to 65535, and more than that of [WithMaxAttempts].
// Deliveries that this process requeued unhandled, or by retry.After(d, nil), do not count; those of
// earlier processes, lost connections and other instances do, so choose a large number. Requires a dead letter, which says that the
// message was not handled. Defaults to none: no message is given up that no handler has seen.
func WithCrashGuard(attempts int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithCrashGuard")
		if c.inRange("WithCrashGuard", attempts, 2, 1<<16-1) {
			c.consume.CrashGuard = attempts
		}
	})
}

// WithDiscard finishes messages that are given up, without keeping them. They count as dropped.
func WithDiscard() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.giveUp("WithDiscard", consume.Discard{})
	})
}
