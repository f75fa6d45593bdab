package nsqx

import (
	"context"
	"errors"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// transmit is the last step of what goes out: it puts headers into the bodies, splits
// them at nsqd's limits, and has them published, one command after the other.
func (p *publishing) transmit(ctx context.Context, out *handler.Outgoing) error {
	bodies := p.seal(out)
	err := p.all(ctx, out, bodies)
	p.count(len(bodies), err)
	return err
}

func (p *publishing) all(ctx context.Context, out *handler.Outgoing, bodies [][]byte) error {
	pub := conn.Pub{Topic: out.Topic, Bodies: bodies, Delay: out.Delay}
	if len(bodies) <= 1 || out.Delay != 0 {
		if err := pub.Validate(p.limit); err != nil {
			return err
		}
		return p.one(ctx, &pub, out.NSQD, &out.NSQD)
	}
	commands := split(bodies, p.limit.MaxBodySize)
	for _, pub.Bodies = range commands { // before the first is sent
		if err := pub.Validate(p.limit); err != nil {
			return err
		}
	}
	confirmed, prefer := 0, out.NSQD
	for _, pub.Bodies = range commands {
		pub.Alone = false
		if err := p.one(ctx, &pub, prefer, &out.NSQD); err != nil {
			if e, ok := errors.AsType[*PublishError](err); ok {
				e.Confirmed = confirmed
			}
			return err
		}
		confirmed += len(pub.Bodies)
	}
	return nil
}

// split makes pieces of bodies that one MPUB can take. A single body that is too
// large for any is a piece of its own.
func split(bodies [][]byte, limit int) (pieces [][][]byte) {
	const perCommand, perBody = 4, 4 // bytes: a count, a length
	first, size := 0, perCommand
	for i, body := range bodies {
		n := perBody + len(body)
		if i > first && size+n > limit {
			pieces = append(pieces, bodies[first:i])
			first, size = i, perCommand
		}
		size += n
	}
	return append(pieces, bodies[first:])
}

// seal puts the headers into the bodies if they are to be sent. A body that would be
// too large with them goes without, and is counted.
func (p *publishing) seal(out *handler.Outgoing) [][]byte {
	if !out.Envelope || out.Headers.Len() == 0 {
		return out.Bodies
	}
	sealed := make([][]byte, len(out.Bodies))
	for i, body := range out.Bodies {
		sealed[i] = body
		if out.Headers.Size(body) > p.limit.MaxMessageSize {
			p.skipped.Add(1)
			continue
		}
		sealed[i] = out.Headers.AppendTo(nil, body)
	}
	return sealed
}

// count adds up what became of n messages.
func (p *publishing) count(n int, err error) {
	if err == nil {
		p.confirmed.Add(uint64(n))
		return
	}
	if e, ok := errors.AsType[*PublishError](err); ok {
		p.confirmed.Add(uint64(e.Confirmed))
		n -= e.Confirmed
	}
	counter := &p.notSent
	switch {
	case errors.Is(err, ErrRejected):
		counter = &p.rejected
	case errors.Is(err, ErrUnconfirmed):
		counter = &p.unconfirmed
	}
	counter.Add(uint64(n))
}

// refused counts n messages that never reach an nsqd, and says why.
func (p *publishing) refused(n int, topic string, why error) error {
	p.rejected.Add(uint64(n))
	return &PublishError{Kind: ErrRejected, Topic: topic, Err: why}
}

// rejectHeaders makes an [ErrRejected] of a header that cannot be sent.
func (p *publishing) rejectHeaders(next handler.Send) handler.Send {
	return func(ctx context.Context, out *handler.Outgoing) error {
		err := next(ctx, out)
		if _, ok := errors.AsType[*envelope.HeaderError](err); ok {
			if _, ok := errors.AsType[*PublishError](err); !ok {
				return p.refused(len(out.Bodies), out.Topic, err)
			}
		}
		return err
	}
}
