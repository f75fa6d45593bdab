package nsqx

import (
	"context"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/consume"
)

// WithDeadLetter publishes messages that are given up to a topic: to the nsqd that delivered the
// message, or to another one if that fails. The message is finished when the publish is confirmed,
// and requeued otherwise, so a dead letter may be published twice.
//
// A dead letter is the body as it arrived, in an envelope. The envelope has the headers of the
// message, and headers that name its origin and the error: see the keys of package envelope. See
// also [WithPlainDeadLetter] and [Redrive].
func WithDeadLetter(topic string) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.giveUp("WithDeadLetter", consume.DeadLetterTopic{Topic: topic})
	})
}

// WithPlainDeadLetter publishes dead letters as the payload alone, without an envelope, for a topic
// whose consumers cannot read one. Requires [WithDeadLetter]. Defaults to off.
func WithPlainDeadLetter() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithPlainDeadLetter")
		c.plainDeadLetter = true
	})
}

// WithDeadLetterFunc passes messages that are given up to fn, with the error that they are given up
// for. If fn returns nil the message is finished, otherwise requeued. ctx does not end with the
// handler's context. fn may take as long as nsqd's max-msg-timeout, since the message is touched
// meanwhile.
func WithDeadLetterFunc(fn func(ctx context.Context, m *handler.Message, err error) error) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.giveUp("WithDeadLetterFunc", consume.DeadLetterFunc(fn))
		if fn == nil {
			c.fault("WithDeadLetterFunc", "got nil")
		}
	})
}

// WithDiscard finishes messages that are given up, and keeps nothing of them. They count as
// dropped.
func WithDiscard() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.giveUp("WithDiscard", consume.Discard{})
	})
}
