package nsqx

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// transmit is the last step of what goes out: it puts headers into the bodies, splits
// them at nsqd's limits, and has them published, one command after the other.
func (p *publishing) transmit(ctx context.Context, out *handler.Outgoing) error {
	buf, ok := p.buffers.Get().(*[][]byte)
	if !ok {
		buf = new([][]byte)
	}
	bodies := p.encodeHeaders((*buf)[:0], out)
	err := p.all(ctx, out, bodies)
	p.count(len(bodies), err)
	if cap(bodies) <= keptBodies {
		clear(bodies) // the pool must not keep payloads
		*buf = bodies
		p.buffers.Put(buf)
	}
	return err
}

// keptBodies is the capacity of the largest slice of bodies that is used again.
const keptBodies = 64

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

// encodeHeaders appends to dst the bodies that go to nsqd: in an envelope if there are headers
// and they may be sent. A body that would exceed MaxMessageSize with them goes without, and is
// counted.
func (p *publishing) encodeHeaders(dst [][]byte, out *handler.Outgoing) [][]byte {
	dst = slices.Grow(dst, len(out.Messages))
	var both mergedHeaders
	for i := range out.Messages {
		m := &out.Messages[i]
		headers, body := both.of(out, m), m.Body
		switch {
		case !out.Envelope || headers.Len() == 0:
		case headers.Size(body) > p.limit.MaxMessageSize:
			p.skipped.Add(1)
		default:
			body = headers.AppendTo(nil, body)
		}
		dst = append(dst, body)
	}
	return dst
}

// mergedHeaders merges the common headers of a publish with those of its messages, one after
// the other. It holds the common headers between two calls of of, and is empty until a message
// needs a merge.
type mergedHeaders struct {
	headers envelope.Writer
	own     *envelope.Writer // merged into headers at present; nil for none
}

// of returns the headers of a message, which are valid until the next call.
func (h *mergedHeaders) of(out *handler.Outgoing, m *handler.OutgoingMessage) *envelope.Writer {
	common := &out.Headers
	switch {
	case m.Headers.Len() == 0:
		return common
	case common.Len() == 0 && (m.Headers.Limit > 0 || common.Limit <= 0):
		return &m.Headers
	}
	if h.headers.Len() == 0 {
		for key, value := range common.All() {
			_ = h.headers.Set(key, value) // cannot fail: common holds it
		}
	}
	if h.own != nil {
		for key := range h.own.All() {
			if value, ok := common.Get(key); ok {
				_ = h.headers.Set(key, value)
			} else {
				h.headers.Delete(key)
			}
		}
	}
	for key, value := range m.Headers.All() {
		_ = h.headers.Set(key, value)
	}
	h.headers.Limit, h.own = cmp.Or(max(m.Headers.Limit, 0), common.Limit), &m.Headers
	return &h.headers
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
				return p.refused(len(out.Messages), out.Topic, err)
			}
		}
		return err
	}
}
