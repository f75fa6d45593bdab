package pool

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/nsqx/nsqx/handler"
)

// maxBatch is the most messages that a worker takes from the queue at once. Single messages cost half
// as much again on a sender, and a tenth of the rate of a real nsqd. Batches of 64 save 3 to 13 % of the
// CPU on a sender and nothing on a real nsqd, and leave more behind a handler that hangs; with 1024
// workers they cost more.
const maxBatch = 8

// batch is what a worker has taken from the queue: messages whose FIN nsqd has not been sent yet, the
// current one, and those that the worker handles next. While it lasts, the worker takes no lock and
// sends nothing. Its messages are of one run of the deque.
//
// Only the worker fills and advances its batch. Others may reclaim what waits, and thereby send the
// FINs of what is finished, so that no FIN waits for a handler that hangs. They hold queue.mu; so
// does the worker to fill the batch.
type batch struct {
	msgs   []handler.Delivery
	cursor atomic.Uint64 // a packed cursor
	before uint64        // messages finished in earlier batches; guarded by queue.mu

	ack func(finished []handler.Delivery) // sends FINs

	read  *handler.Read   // of the message that inTime has seen last; nil in a new batch
	ctx   context.Context // of its source
	lasts bool            // that context's time lasts for the whole batch: see inTime

	seen *handler.Delivery // current when reclaimStuck looked last; guarded by queue.mu

	wake   sync.Cond // signalled to a worker that sleeps
	asleep bool      // guarded by queue.mu
	leaves bool      // the worker takes no further message, and is not in queue.batches; guarded by queue.mu
}

// cursor divides the messages of a batch: those before acked are answered, those from acked to
// next-1 are finished, next-1 is the current one unless it is answered (acked is next then), those
// from next to end wait. An empty batch has next 0. count is how many were finished in this batch.
type cursor struct{ acked, next, end, count uint16 }

func unpack(p uint64) cursor {
	return cursor{uint16(p), uint16(p >> 16), uint16(p >> 32), uint16(p >> 48)}
}

func (c cursor) pack() uint64 {
	return uint64(c.acked) | uint64(c.next)<<16 | uint64(c.end)<<32 | uint64(c.count)<<48
}

// finish counts the current message as finished, unless it is answered.
func (c *cursor) finish() {
	if c.acked < c.next {
		c.count++
	}
}

// unacked reports whether there are finished messages before the current one.
func (c cursor) unacked() bool { return c.acked+1 < c.next }

// The steps of a cursor.
var (
	ackAll = func(c cursor) cursor {
		c.finish()
		c.acked = c.next
		return c
	}
	detach = func(c cursor) cursor { // the current one is answered otherwise
		c.acked = c.next
		return c
	}
	keepCurrent = func(c cursor) cursor {
		if c.next > 0 {
			c.acked = max(c.acked, c.next-1)
		}
		c.end = c.next
		return c
	}
)

// step moves the cursor, and returns it before and after.
func (b *batch) step(to func(cursor) cursor) (was, is cursor) {
	for {
		packed := b.cursor.Load()
		was = unpack(packed)
		is = to(was)
		if b.cursor.CompareAndSwap(packed, is.pack()) {
			return was, is
		}
	}
}

// next counts the current message as finished and makes the oldest that waits the current one. It
// returns nil if none waits.
func (b *batch) next() *handler.Delivery {
	for {
		packed := b.cursor.Load()
		c := unpack(packed)
		if c.next == c.end {
			return nil
		}
		c.finish()
		c.next++
		if b.cursor.CompareAndSwap(packed, c.pack()) {
			return &b.msgs[c.next-1]
		}
	}
}

// current returns the message that is handled, or was last; nil if the batch is empty.
func (b *batch) current() *handler.Delivery {
	if c := unpack(b.cursor.Load()); c.next > 0 {
		return &b.msgs[c.next-1]
	}
	return nil
}

// waiting returns how many messages wait, and the oldest of them.
func (b *batch) waiting() (n int, oldest *handler.Delivery) {
	c := unpack(b.cursor.Load())
	if c.next == c.end {
		return 0, nil
	}
	return int(c.end - c.next), &b.msgs[c.next]
}

// finished returns how many messages were finished in this and all earlier batches. The caller holds
// queue.mu.
func (b *batch) finished() uint64 { return b.before + uint64(unpack(b.cursor.Load()).count) }

// fill replaces a batch in which nothing waits, and returns its first message, the current one.
func (b *batch) fill(msgs []handler.Delivery) *handler.Delivery {
	b.clear()
	b.msgs = msgs
	b.cursor.Store(cursor{next: 1, end: uint16(len(msgs))}.pack())
	return &msgs[0]
}

// clear empties a batch in which nothing waits, so that it keeps no settled message alive.
func (b *batch) clear() {
	b.before = b.finished()
	b.cursor.Store(0)
	b.msgs, b.seen, b.read, b.ctx = nil, nil, nil, nil
}

// inTime reports whether the context of a message has not ended. It reads the clock once for the
// messages of one read: a batch is expected to take a fraction of a millisecond.
func (b *batch) inTime(m *handler.Delivery) bool {
	if r := m.Read(); r != b.read {
		b.read, b.ctx, b.lasts = r, r.Source.Context(), r.Lasts(r.Source.Terms().Now())
	}
	return b.lasts && b.ctx.Err() == nil && !m.HasOwnContext() || m.Context().Err() == nil
}

// flushAcks sends the FINs of all that is finished, the current message included. Only the worker
// calls it.
func (b *batch) flushAcks() {
	was, is := b.step(ackAll)
	if was.acked < is.acked {
		b.ack(b.msgs[was.acked:is.acked])
	}
}

// detachCurrent sends the FINs of all that is finished but the current message, which the worker
// answers itself.
func (b *batch) detachCurrent() {
	was, is := b.step(detach)
	if was.acked+1 < is.acked {
		b.ack(b.msgs[was.acked : is.acked-1])
	}
}

// reclaim moves all that waits to the front of d, and sends the FINs of what is finished.
func (b *batch) reclaim(d *deque) {
	was, is := b.step(keepCurrent)
	if is.end < was.end {
		d.pushFront(b.msgs[is.end:was.end])
	}
	if was.acked < is.acked {
		b.ack(b.msgs[was.acked:is.acked])
	}
}
