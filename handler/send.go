package handler

import (
	"context"
	"time"

	"github.com/nsqx/nsqx/envelope"
)

// Outgoing is one publish: it passes through the send middleware and then goes to an nsqd. It
// belongs to the goroutine that publishes.
type Outgoing struct {
	Topic string

	// Messages go out in one command: PUB, or MPUB if there are several. Middleware may
	// replace messages and bodies, but must not change the bytes of a body.
	Messages []OutgoingMessage

	// Delay, if above 0, is how long no handler gets the messages. It is rounded up to
	// milliseconds. Without Envelope nsqd alone keeps to it (DPUB): there must be one message
	// only, and the delay be within MaxDelay of conn.Config. With Envelope a header says it to
	// consumers: see nsqx.Producer.PublishAt.
	Delay time.Duration

	// Headers are common to all messages. They are sent only if Envelope is set. They count for
	// each message: with its own headers, at most Limit bytes are sent.
	Headers envelope.Writer

	// Raw says that bodies are as [Message.RawBody] returns them: one that begins with an envelope
	// is published as it is, or merged with headers. Otherwise such a body is a payload like any
	// other, and has an envelope around it, so that a consumer's handler gets it unchanged.
	Raw bool

	// Envelope says that consumers of the topic can read an envelope; see WithEnvelope. Messages
	// then get an id, unless they have one, and the time of the publish. If false, no headers are
	// sent, and a publish with a header that is required (see envelope.Writer.Required) is rejected.
	Envelope bool

	// NSQD is the address of the nsqd to prefer; "" for any. After the publish it is the nsqd
	// that was asked last.
	NSQD string
}

// OutgoingMessage is one message of an [Outgoing].
type OutgoingMessage struct {
	Body []byte // the payload

	// Headers are those of this message alone. They are sent together with Outgoing.Headers; of
	// two headers with the same key, the one here is sent. Limit defaults to that of
	// Outgoing.Headers.
	Headers envelope.Writer
}

// Send publishes. It returns nil when nsqd has confirmed all messages.
type Send func(ctx context.Context, out *Outgoing) error

// SendMiddleware wraps a Send, as [Middleware] wraps a handler. It is called once, when the
// producer is made; the Send it returns is called concurrently. That Send may change out, and
// must call next at most once.
type SendMiddleware func(next Send) Send

// ChainSend combines several SendMiddleware into one. The first is the outermost: it sees a
// publish first and the result last. nil is skipped. A SendMiddleware that returns nil panics.
func ChainSend(mw ...SendMiddleware) SendMiddleware {
	return func(next Send) Send { return wrap(next, mw) }
}
