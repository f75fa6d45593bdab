package handler

import (
	"context"
	"time"

	"github.com/nsqx/nsqx/envelope"
)

// Outgoing is what one publish sends: it goes through the send middleware and
// then to an nsqd. It belongs to the goroutine that publishes.
type Outgoing struct {
	Topic string

	// Bodies are the payloads: one message each, all in one command (PUB, or
	// MPUB if there are several). They may be replaced, but what they hold must
	// not be changed.
	Bodies [][]byte

	// Delay, if above 0, is how long nsqd keeps the message before it delivers
	// it (DPUB): whole milliseconds, rounded up. There must be one body only.
	Delay time.Duration

	// Headers go out with each body if Envelope is set.
	Headers envelope.Writer

	// Envelope says that consumers of the topic can read an envelope. It is what
	// WithEnvelope sets. Without it no header is sent.
	Envelope bool

	// NSQD is the nsqd to prefer, or "" for any. When the publish has returned,
	// it is the one that was asked last.
	NSQD string
}

// Send publishes. It returns nil when nsqd has confirmed all bodies.
type Send func(ctx context.Context, out *Outgoing) error

// SendMiddleware wraps a Send, as [Middleware] wraps a handler. It is called once,
// when the producer is made; what it returns is called by many goroutines at
// once. It may change out, and must call next at most once.
type SendMiddleware func(next Send) Send

// ChainSend makes one SendMiddleware of several. The first is the outermost: it
// sees a publish first and its result last. Nil ones are left out.
func ChainSend(mw ...SendMiddleware) SendMiddleware {
	return func(next Send) Send {
		for i := len(mw) - 1; i >= 0; i-- {
			if mw[i] != nil {
				next = mw[i](next)
			}
		}
		return next
	}
}
