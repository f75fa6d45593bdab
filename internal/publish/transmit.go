package publish

import (
	"context"
	"errors"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/lookup"
)

// keptBodies is the capacity of the largest slice of bodies that is used again.
const keptBodies = 1024

// Transmit is the last step of a publish: it puts headers into the bodies, splits them at nsqd's
// limits, and publishes one command after the other.
func (r *Router) Transmit(ctx context.Context, out *handler.Outgoing) error {
	delay, held, added, err := r.schedule(out)
	if err != nil {
		return r.Reject(len(out.Messages), out.Topic, err)
	}
	buf, ok := r.buffers.Get().(*[][]byte)
	if !ok {
		buf = new([][]byte)
	}
	bodies, err := r.encodeHeaders((*buf)[:0], out)
	if added {
		out.Headers.Delete(envelope.NotBefore)
	}
	if err == nil {
		err = r.publishAll(ctx, out, bodies, delay, held)
		r.count(len(bodies), err)
	} else {
		err = r.Reject(len(out.Messages), out.Topic, err)
	}
	if cap(bodies) <= keptBodies {
		clear(bodies) // the pool must not keep payloads
		*buf = bodies
		r.buffers.Put(buf)
	}
	return err
}

// publishAll validates all commands before it publishes the first.
func (r *Router) publishAll(ctx context.Context, out *handler.Outgoing, bodies [][]byte, delay time.Duration, held bool) error {
	pub := conn.Pub{Topic: out.Topic, Bodies: bodies, Delay: delay}
	prefer := out.NSQD
	if prefer != "" {
		prefer = lookup.Form(prefer) // as the addresses of connections
	}
	if len(bodies) <= 1 || delay != 0 {
		if err := pub.Validate(r.limits); err != nil {
			return err
		}
		if held {
			return r.publishHeld(ctx, &pub, prefer, &out.NSQD)
		}
		return r.publishTo(ctx, &pub, prefer, &out.NSQD)
	}
	commands := split(bodies, r.limits.MaxBodySize)
	for _, pub.Bodies = range commands {
		if err := pub.Validate(r.limits); err != nil {
			return err
		}
	}
	confirmed := 0
	for _, pub.Bodies = range commands {
		pub.Alone = false
		if err := r.publishTo(ctx, &pub, prefer, &out.NSQD); err != nil {
			if e, ok := errors.AsType[*conn.PublishError](err); ok {
				e.Confirmed = confirmed
			}
			return err
		}
		confirmed += len(pub.Bodies)
	}
	return nil
}

// split makes pieces of bodies that one MPUB can take. A single body that is too large for any is a
// piece of its own.
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
