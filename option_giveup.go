package nsqx

import (
	"context"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/consume"
)

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
		c.giveUp("WithDeadLetter", consume.DeadLetterTopic{Topic: topic})
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
		c.giveUp("WithDeadLetterFunc", consume.DeadLetterFunc(fn))
		if fn == nil {
			c.fault("WithDeadLetterFunc", "got nil")
		}
	})
}

// WithCrashGuard gives a message up, unhandled, that is delivered for the nth time or
// later: its handler may kill the process, so that no run of it ever ends. Deliveries
// that this process gave back without a run are not counted, but others are: of
// deploys, of lost connections, of other instances. So choose a large number: 2 to
// 65535, and more than that of [WithMaxAttempts]. It needs a dead letter, which tells
// that the message was not handled. Defaults to none: no message is given up that no
// handler has seen.
func WithCrashGuard(attempts int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithCrashGuard")
		if c.inRange("WithCrashGuard", attempts, 2, 1<<16-1) {
			c.consume.CrashGuard = attempts
		}
	})
}

// WithDiscard finishes the messages that are given up, and keeps nothing of
// them. They are counted as dropped.
func WithDiscard() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.giveUp("WithDiscard", consume.Discard{})
	})
}
