package handler

import (
	"context"
	"errors"
)

// Causes for which the context of a handler ends while the handler still runs. Read them with
// [context.Cause].
var (
	// ErrShutdown: the consumer shuts down, and its shutdown timeout has passed. A handler that
	// fails now returns its message to nsqd at once (REQ 0). The failure is not counted.
	ErrShutdown = errors.New("nsqx: consumer is shutting down")

	// ErrConnLost: the connection that delivered the message is gone. No answer can reach nsqd,
	// which delivers the message again.
	ErrConnLost = errors.New("nsqx: connection to nsqd lost")

	// ErrMessageTimeout: the message timeout is about to end. A handler that returns now is
	// still answered; later only a success is.
	//
	// [errors.Is] reports it as [context.DeadlineExceeded], which is also the Err of the
	// handler's context. A context derived from that one may say Canceled: ask
	// [context.Cause].
	ErrMessageTimeout error = messageTimeout{}
)

// ErrSettled is returned by [Message.Touch] for a message that is answered already.
var ErrSettled = errors.New("nsqx: message is settled")

// ErrStale is what the Err of an [Outcome] is, with [errors.Is], for a message that came too late for
// its handler: it has expired, or is older than the consumer handles. The handler was not called.
var ErrStale = errors.New("nsqx: message is stale")

type messageTimeout struct{}

func (messageTimeout) Error() string        { return "nsqx: message timeout" }
func (messageTimeout) Timeout() bool        { return true }
func (messageTimeout) Is(target error) bool { return target == context.DeadlineExceeded }
