package conn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/nsqx/nsqx/internal/wire"
)

// What became of a publish that failed. Every error of [Conn.Publish] is exactly one of these.
var (
	// ErrRejected: it will never work, as it is: nsqd, or its limits, do not take it. Nothing was published.
	ErrRejected = errors.New("nsqx: publish rejected")

	// ErrNotSent: nsqd does not have it, and it may be published again.
	ErrNotSent = errors.New("nsqx: publish not sent")

	// ErrUnconfirmed: nsqd may or may not have it.
	ErrUnconfirmed = errors.New("nsqx: publish not confirmed")
)

// PublishError is why a publish failed.
type PublishError struct {
	Kind  error // ErrRejected, ErrNotSent or ErrUnconfirmed
	Topic string
	NSQD  string // address; "" if none was asked
	Err   error  // what happened

	// Confirmed is how many messages nsqd has confirmed before, of those that were to be published together: the first ones.
	Confirmed int
}

// Error names the topic and the nsqd.
func (e *PublishError) Error() string {
	to := e.Topic
	if len(to) > 64 {
		to = to[:64]
	}
	to = fmt.Sprintf("%q", to)
	if e.NSQD != "" {
		to += " at nsqd " + e.NSQD
	}
	return fmt.Sprintf("%v: to %s: %s", e.Kind, to, strings.TrimPrefix(e.Err.Error(), "nsqx: "))
}

// Unwrap returns the kind and what happened.
func (e *PublishError) Unwrap() []error { return []error{e.Kind, reason{e.Err}} }

// reason is what happened. It may be the failure of another publish, for instance as the cause of a context that ended: the kind of that
// is not the kind of this one.
type reason struct{ error }

func (r reason) Is(target error) bool {
	return target != ErrRejected && target != ErrNotSent && target != ErrUnconfirmed && errors.Is(r.error, target)
}

func (r reason) As(target any) bool { return errors.As(r.error, target) }

// Pub is what one command publishes.
type Pub struct {
	Topic string

	// Bodies are one message each: together they are an MPUB, which nsqd takes or refuses as a whole; a single one is a PUB.
	// They are not used any more when Publish has returned.
	Bodies [][]byte

	// Delay is how long nsqd keeps the message before it delivers it (DPUB), rounded up to milliseconds. There must be a single
	// body then. Defaults to 0: none.
	Delay time.Duration

	// Alone keeps the message out of a common MPUB with others. It is for one that was in such an MPUB when that was refused.
	Alone bool
}

// Limits are what nsqd takes of a publish.
type Limits struct {
	MaxMessageSize, MaxBodySize int // bytes
	MaxDelay                    time.Duration
}

// Limits returns those of a configuration, with its defaults.
func (c Config) Limits() Limits {
	c.limitDefaults()
	return Limits{MaxMessageSize: c.MaxMessageSize, MaxBodySize: c.MaxBodySize, MaxDelay: c.MaxDelay}
}

// Validate finds what nsqd would not take, as a [*PublishError] that is [ErrRejected]. Publish does so itself: nsqd would close the
// connection, which costs others their answers.
func (p *Pub) Validate(l Limits) error {
	if err := p.check(l); err != nil {
		return &PublishError{Kind: ErrRejected, Topic: p.Topic, Err: err}
	}
	return nil
}

func (p *Pub) check(l Limits) error {
	if err := wire.CheckTopic(p.Topic); err != nil {
		return err
	}
	if p.Delay != 0 {
		if len(p.Bodies) != 1 {
			return fmt.Errorf("nsqx: %d messages with a delay: DPUB takes a single one", len(p.Bodies))
		}
		if err := wire.CheckDelay(p.ms(), l.MaxDelay.Milliseconds()); err != nil {
			return err
		}
	}
	if len(p.Bodies) == 1 {
		return wire.CheckBody(p.Bodies[0], l.MaxMessageSize)
	}
	return wire.CheckBodies(p.Bodies, l.MaxMessageSize, l.MaxBodySize)
}

func (p *Pub) ms() int64 {
	if p.Delay < 0 {
		return -1
	}
	return (p.Delay + time.Millisecond - 1).Milliseconds()
}

// Publish publishes and waits until nsqd has confirmed it. It works on connections without a subscription only: on a
// subscribed one an unasked error could pass for the answer. It may be called by many goroutines at once: what they publish to
// one topic while a write is on its way goes out together, as one MPUB, and a lone one at once, as PUB.
//
// nil means that nsqd has all messages; else the error is a [*PublishError]. When ctx ends, Publish returns at once; the
// answer that is still to come goes to nobody. While very much is unanswered, Publish waits for room.
func (c *Conn) Publish(ctx context.Context, p *Pub) error {
	if c.sub != nil {
		return c.notPublished(ErrRejected, p, errors.New("nsqx: cannot publish on a subscribed connection"))
	}
	if err := p.check(c.cfg.Limits()); err != nil {
		return c.notPublished(ErrRejected, p, err)
	}
	return c.PublishValid(ctx, p)
}

// PublishValid is Publish for a Pub that Validate has passed with the Limits of the connection's Config. A connection with a
// subscription must not call it.
func (c *Conn) PublishValid(ctx context.Context, p *Pub) error {
	if ctx.Err() != nil {
		return c.notPublished(ErrNotSent, p, ended(ctx))
	}
	w := c.out.pubs.waiter()
	for {
		queued, room := c.out.publish(p, w, c.cfg.MaxBodySize)
		if queued {
			break
		}
		if room == nil {
			return c.notPublished(ErrNotSent, p, c.fault(net.ErrClosed))
		}
		select {
		case <-room:
		case <-ctx.Done():
			return c.notPublished(ErrNotSent, p, ended(ctx))
		}
	}
	select {
	case r := <-w:
		c.out.pubs.waiters.Put(w)
		if r.kind == nil {
			return nil
		}
		return c.notPublished(r.kind, p, r.err)
	case <-ctx.Done():
		return c.notPublished(ErrUnconfirmed, p, ended(ctx))
	}
}

func (c *Conn) notPublished(kind error, p *Pub, err error) error {
	return &PublishError{Kind: kind, Topic: p.Topic, NSQD: c.addr, Err: err}
}

// Unanswered is how many messages were published that nsqd has not answered yet.
func (c *Conn) Unanswered() int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.pubs.messages
}
