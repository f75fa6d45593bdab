package publish

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// schedule returns the delay of the DPUB that publishes out. In an envelope a header says when the
// message may be handled, beyond nsqd's limit, for several messages, and where nsqd forgets the delay.
// held reports whether there is such a header, and added whether it is new.
func (r *Router) schedule(out *handler.Outgoing) (delay time.Duration, held, added bool, err error) {
	if !out.Envelope || out.Delay <= 0 {
		return out.Delay, false, false, nil
	}
	if out.Delay > envelope.MaxAhead {
		return 0, false, false, &envelope.HeaderError{Key: envelope.NotBefore, Err: envelope.ErrTime}
	}
	if _, ok := out.Headers.Get(envelope.NotBefore); !ok {
		_ = out.Headers.Set(envelope.NotBefore, envelope.FormatTime(time.Now().Add(out.Delay))) // cannot fail
		added = true
	}
	if len(out.Messages) > 1 {
		return 0, true, added, nil
	}
	return r.longest(out.Delay), true, added, nil
}

// longest bounds a delay by what nsqds accept.
func (r *Router) longest(delay time.Duration) time.Duration {
	delay = min(delay, r.limits.MaxDelay)
	if refused := r.maxDelay.Load(); refused > 0 {
		delay = min(delay, time.Duration(refused-1)*time.Millisecond)
	}
	return delay
}

// publishHeld publishes a message that consumers hold back. An nsqd whose max-req-timeout is below
// MaxDelay refuses the delay; then it gets the message with the longest that it accepts.
func (r *Router) publishHeld(ctx context.Context, pub *conn.Pub, prefer string, asked *string) error {
	delay := pub.Delay
	err := r.publishTo(ctx, pub, prefer, asked)
	ms, refused := refusedDelay(err)
	if !refused || delay <= 0 {
		return err
	}
	r.maxDelay.Store(ms + 1)
	pub.Delay = r.longest(delay)
	return r.publishTo(ctx, pub, prefer, asked)
}

// refusedDelay reports whether nsqd has refused the delay of a DPUB, and returns its limit in
// milliseconds, as in "DPUB timeout 3600000 out of range 0-60000"; 0 if it does not say.
func refusedDelay(err error) (limit int64, refused bool) {
	e, ok := errors.AsType[*conn.ServerError](err)
	if !ok || !errors.Is(err, conn.ErrRejected) || !strings.Contains(e.Text, "DPUB timeout") {
		return 0, false
	}
	_, text, _ := strings.Cut(e.Text, " out of range 0-")
	limit, _ = strconv.ParseInt(text, 10, 32)
	return max(limit, 0), true
}
