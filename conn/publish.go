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

// The kinds of publish errors. Every error of [Conn.Publish] is exactly one of these.
var (
	// ErrRejected: nsqd, or its limits, do not accept the publish, and a retry cannot succeed.
	// Nothing was published.
	ErrRejected = errors.New("nsqx: publish rejected")

	// ErrNotSent: nsqd does not have the messages; they can safely be published again.
	ErrNotSent = errors.New("nsqx: publish not sent")

	// ErrUnconfirmed: nsqd may or may not have the messages.
	ErrUnconfirmed = errors.New("nsqx: publish not confirmed")
)

// PublishError describes a failed publish.
type PublishError struct {
	Kind  error // ErrRejected, ErrNotSent or ErrUnconfirmed
	Topic string
	NSQD  string // address; "" if no nsqd was asked
	Err   error  // the cause

	// Confirmed is the number of messages that nsqd confirmed before the failure. They are the
	// first ones of those to be published together.
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

// Unwrap returns the kind and the cause.
func (e *PublishError) Unwrap() []error { return []error{e.Kind, reason{e.Err}} }

// reason hides the kind of another publish's failure, for instance one that cancelled the context.
type reason struct{ error }

func (r reason) Is(target error) bool {
	return target != ErrRejected && target != ErrNotSent && target != ErrUnconfirmed && errors.Is(r.error, target)
}

func (r reason) As(target any) bool { return errors.As(r.error, target) }

// Pub is the content of one publish command.
type Pub struct {
	Topic string

	// Bodies has one element a message. A single one is sent as PUB. Several are sent as an MPUB,
	// which has one answer: OK for all, or an error after which nsqd may have some of them. They are
	// not used after Publish returns.
	Bodies [][]byte

	// Delay is how long nsqd keeps the message before it delivers it (DPUB), rounded up to
	// milliseconds. It requires a single body. Defaults to 0: no delay.
	Delay time.Duration

	// Alone keeps the message out of an MPUB with the messages of other callers. Use it to retry a
	// message after such an MPUB was refused.
	Alone bool
}

// Limits are the limits that nsqd enforces on a publish.
type Limits struct {
	MaxMessageSize, MaxBodySize int // in bytes
	MaxDelay                    time.Duration
}

// Limits returns the limits of the configuration, with defaults applied.
func (c Config) Limits() Limits {
	c.limitDefaults()
	return Limits{MaxMessageSize: c.MaxMessageSize, MaxBodySize: c.MaxBodySize, MaxDelay: c.MaxDelay}
}

// Validate returns a [*PublishError] of kind [ErrRejected] if nsqd would not accept p, else nil.
// Publish calls it: nsqd would close the connection, and other callers would lose their answers.
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
			return fmt.Errorf("nsqx: %d messages with a delay: DPUB takes a single one, unless they are published in an envelope", len(p.Bodies))
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
	ms := p.Delay.Milliseconds()
	if p.Delay%time.Millisecond > 0 {
		ms++
	}
	return ms
}

// Publish publishes p and waits for nsqd's confirmation. nil means that nsqd has all messages;
// otherwise the error is a [*PublishError].
//
// Publish requires a connection without a subscription: on a subscribed one an unrelated error
// could pass for the answer. It is safe for concurrent use. Messages that several goroutines
// publish to one topic during a write are combined into one MPUB; a single message is sent
// immediately, as PUB.
//
// When ctx ends, Publish returns immediately and the answer is discarded. Publish waits while very
// many messages are unanswered.
func (c *Conn) Publish(ctx context.Context, p *Pub) error {
	if c.sub != nil {
		return c.notPublished(ErrRejected, p, errors.New("nsqx: cannot publish on a subscribed connection"))
	}
	if err := p.check(c.cfg.Limits()); err != nil {
		return c.notPublished(ErrRejected, p, err)
	}
	return c.PublishValid(ctx, p)
}

// PublishValid is Publish for a Pub that Validate has passed with the Limits of the connection's
// Config. It must not be called on a connection with a subscription.
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
		case <-room.over:
			if room.err != nil {
				return c.notPublished(ErrNotSent, p, room.err)
			}
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

// Unanswered returns how many published messages nsqd has not answered yet.
func (c *Conn) Unanswered() int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.pubs.messages
}
