package nsqx

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/nsqx/nsqx/handler"
)

// maxBatch is the most messages that a worker takes from the queue at once.
const maxBatch = 64

// pocket is what a worker has taken from the queue: messages that it has
// finished, which nsqd has not been told of yet, the one that it handles, and
// those that it handles next. While the last ones last, the worker needs no lock,
// and tells nsqd nothing. They are of one row of the ring: where few messages come
// together, few are taken together. Whoever empties the pocket meanwhile, since its handlers are
// not as quick as they were, sees to it that nsqd is told of the first ones: no FIN
// waits for a handler that hangs.
//
// Only its worker fills a pocket, and goes on in it. Whoever else looks into it, or
// empties it, holds queue.mu; so does its worker to fill it.
type pocket struct {
	msgs   []handler.Delivery
	marks  atomic.Uint64 // what is where in msgs: see marks
	before uint64        // messages finished before those; guarded by queue.mu

	answer func(finished []handler.Delivery) // tells nsqd

	read  *handler.Read   // of the message that inTime has seen last; nil when the pocket was filled anew
	ctx   context.Context // of its source
	lasts bool            // for long enough: see inTime

	seen *handler.Delivery // the one that was handled when queue.look came by; guarded by queue.mu

	wake   sync.Cond // signalled for a worker that sleeps
	asleep bool      // guarded by queue.mu
}

// marks divide the messages of a pocket. Those before told are none of its
// business any more, those from there are finished, the one before next is handled
// (but told > next-1 when it is not, and next is 0 in an empty pocket), those from
// next to end wait. count is how many of them have been finished here.
type marks struct{ told, next, end, count uint16 }

func unpack(p uint64) marks {
	return marks{uint16(p), uint16(p >> 16), uint16(p >> 32), uint16(p >> 48)}
}

func (m marks) pack() uint64 {
	return uint64(m.told) | uint64(m.next)<<16 | uint64(m.end)<<32 | uint64(m.count)<<48
}

// finish counts the current message as finished, unless it is answered already.
func (m *marks) finish() {
	if m.told < m.next {
		m.count++
	}
}

// The ways from one state to the next.
var (
	tellAll = func(m marks) marks {
		m.finish()
		m.told = m.next
		return m
	}
	passCurrent = func(m marks) marks { // it is answered in another way
		m.told = m.next
		return m
	}
	keepCurrent = func(m marks) marks {
		if m.next > 0 {
			m.told = max(m.told, m.next-1)
		}
		m.end = m.next
		return m
	}
)

// move goes from one state to the next, and returns both.
func (p *pocket) move(on func(marks) marks) (was, is marks) {
	for {
		packed := p.marks.Load()
		was = unpack(packed)
		is = on(was)
		if p.marks.CompareAndSwap(packed, is.pack()) {
			return was, is
		}
	}
}

// next makes the current message a finished one, and the oldest that waits the
// current one. It returns nil if none waits.
func (p *pocket) next() *handler.Delivery {
	for {
		packed := p.marks.Load()
		m := unpack(packed)
		if m.next == m.end {
			return nil
		}
		m.finish()
		m.next++
		if p.marks.CompareAndSwap(packed, m.pack()) {
			return &p.msgs[m.next-1]
		}
	}
}

// current returns the message that is handled, or was last; nil if the pocket is
// empty.
func (p *pocket) current() *handler.Delivery {
	if m := unpack(p.marks.Load()); m.next > 0 {
		return &p.msgs[m.next-1]
	}
	return nil
}

// waiting returns how many messages wait, and the oldest of them.
func (p *pocket) waiting() (n int, oldest *handler.Delivery) {
	m := unpack(p.marks.Load())
	if m.next == m.end {
		return 0, nil
	}
	return int(m.end - m.next), &p.msgs[m.next]
}

// finished returns how many messages were finished here, ever. The caller holds
// queue.mu.
func (p *pocket) finished() uint64 { return p.before + uint64(unpack(p.marks.Load()).count) }

// fill puts messages into a pocket in which nothing waits, and makes the first of them the
// current one.
func (p *pocket) fill(msgs []handler.Delivery) *handler.Delivery {
	p.clear()
	p.msgs = msgs
	p.marks.Store(marks{next: 1, end: uint16(len(msgs))}.pack())
	return &msgs[0]
}

// clear makes a pocket in which nothing waits an empty one: what is settled shall
// not be kept.
func (p *pocket) clear() {
	p.before = p.finished()
	p.marks.Store(0)
	p.msgs, p.seen, p.read, p.ctx = nil, nil, nil, nil
}

// inTime says whether the context of a message goes on. The clock is looked at once
// for all that was read, and then taken, together: that takes as long as handling a message
// does, and control sees to it that no pocket lasts for long.
func (p *pocket) inTime(m *handler.Delivery) bool {
	if r := m.Read(); r != p.read {
		p.read, p.ctx, p.lasts = r, r.Source.Context(), r.Lasts(r.Source.Terms().Now())
	}
	return p.lasts && p.ctx.Err() == nil && !m.HasOwnContext() || m.Context().Err() == nil
}

// tell tells nsqd of all that is finished, the current message included. It is
// for the worker.
func (p *pocket) tell() {
	was, is := p.move(tellAll)
	if was.told < is.told {
		p.answer(p.msgs[was.told:is.told])
	}
}

// pass tells nsqd of all that is finished but the current message, which the
// worker is going to answer by itself.
func (p *pocket) pass() {
	was, is := p.move(passCurrent)
	if was.told+1 < is.told {
		p.answer(p.msgs[was.told : is.told-1])
	}
}

// untold says whether there are finished messages that nsqd was not told of.
func (m marks) untold() bool { return m.told+1 < m.next }

// empty puts all that waits back to the head of r, and tells nsqd of what is
// finished.
func (p *pocket) empty(r *ring) {
	was, is := p.move(keepCurrent)
	if is.end < was.end {
		r.unpop(p.msgs[is.end:was.end])
	}
	if was.told < is.told {
		p.answer(p.msgs[was.told:is.told])
	}
}

// gather puts what the pockets hold back to the head of the ring. What was in
// one pocket stays in order.
func (q *queue) gather() {
	if !q.lent {
		return
	}
	for _, p := range q.pockets {
		p.empty(&q.ring)
	}
	q.lent = false
}

// look empties the next pocket if its worker has handled the same message
// since look came by last, one round of all workers ago. So what waits behind a
// slow handler is not overtaken for long by what comes after it, although no
// worker is idle.
func (q *queue) look() {
	q.looked = (q.looked + 1) % len(q.pockets)
	p := q.pockets[q.looked]
	m := p.current()
	if m != nil && m == p.seen {
		p.empty(&q.ring)
	}
	p.seen = m
}

// tick empties the pockets: a worker that is as quick as was thought fills it again at
// once, and that of another shall not last for long.
func (q *queue) tick() {
	q.mu.Lock()
	q.gather()
	q.unlock()
}

// inPockets returns how many messages wait in pockets.
func (q *queue) inPockets() (n int) {
	if !q.lent {
		return 0
	}
	q.lent = false
	for _, p := range q.pockets {
		m := unpack(p.marks.Load())
		n += int(m.end - m.next)
		q.lent = q.lent || m.next < m.end || m.untold()
	}
	return n
}
