package handler

import (
	"context"
	"errors"
)

// The causes for which the context of a handler ends before the handler has
// returned. Read them with [context.Cause].
var (
	// ErrShutdown: the consumer is shutting down and its shutdown timeout is
	// over. A handler that fails now gives its message back at once (REQ 0);
	// the failure is not counted against the message.
	ErrShutdown = errors.New("nsqx: consumer is shutting down")

	// ErrConnLost: the connection that delivered the message is gone. No
	// answer can reach nsqd, which delivers the message again.
	ErrConnLost = errors.New("nsqx: connection to nsqd lost")

	// ErrMessageTimeout: the message timeout is (almost) over. A handler that
	// returns now is still answered; later only its success is.
	// It is also [context.DeadlineExceeded] for [errors.Is], and the Err of the
	// handler's context is that. A context derived from it may say Canceled
	// instead: ask [context.Cause].
	ErrMessageTimeout error = messageTimeout{}
)

// ErrSettled is returned by [Message.Touch] when the message has been answered
// already.
var ErrSettled = errors.New("nsqx: message is settled")

type messageTimeout struct{}

func (messageTimeout) Error() string        { return "nsqx: message timeout" }
func (messageTimeout) Timeout() bool        { return true }
func (messageTimeout) Is(target error) bool { return target == context.DeadlineExceeded }
