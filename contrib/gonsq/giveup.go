package gonsq

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// errKept is why a message that LogFailedMessage has requeued is not given up.
var errKept = errors.New("gonsq: requeued by LogFailedMessage")

// giveUp finishes a message that was delivered more than MaxAttempts times, after a handler was told.
func (c *Consumer) giveUp(ctx context.Context, of *handler.Message, err error) error {
	if c.cfg.MaxAttempts == 0 || int(of.Attempts) != 0 && int(of.Attempts) <= int(c.cfg.MaxAttempts) {
		return err // the message failed for another reason, such as its size
	}
	h, acquired := c.acquire(ctx)
	if acquired != nil {
		return acquired
	}
	defer func() { c.free <- h }()
	c.slog().Warn("message given up", "msg.id", of.ID.String(), "nsqd", of.NSQD(), "msg.attempts", of.Attempts)
	if l, ok := h.(FailedMessageLogger); ok {
		kept := false
		m := newMessage(of, bytes.Clone(of.Body), lastWord{of, &kept})
		l.LogFailedMessage(m)
		if kept {
			return errKept
		}
	}
	c.run.finished.Add(1)
	return nil
}

// lastWord is the Delegate of a message that is given up.
type lastWord struct {
	of   *handler.Message
	kept *bool
}

func (w lastWord) OnFinish(*Message)                       {}
func (w lastWord) OnRequeue(*Message, time.Duration, bool) { *w.kept = true }
func (w lastWord) OnTouch(*Message)                        { _ = w.of.Touch() }

// retryAfter asks for a delay. Of an error that asks nsqx for something else only the text remains.
func retryAfter(d time.Duration, err error) error { return retry.After(d, err) }
