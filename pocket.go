package nsqx

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// maxBatch is the most messages that a worker takes from the queue at once.
const maxBatch = 16

// pocket is what a worker has taken from the queue: messages that it has
// finished, which nsqd has not been told of yet, the one that it handles, and
// those that it handles next. While the last ones last, the worker needs no lock,
// and tells nsqd nothing. Whoever empties the pocket meanwhile, since its handlers are
// not as quick as they were, sees to it that nsqd is told of the first ones: no FIN
// waits for a handler that hangs.
//
// Only its worker fills a pocket, and goes on in it. Whoever else looks into it, or
// empties it, holds queue.mu; so does its worker to fill it.
type pocket struct {
	msgs  [maxBatch]*handler.Message
	marks atomic.Uint64 // what is where in msgs: see marks

	answer func(finished []*handler.Message) // tells nsqd

	src handler.Source  // of the message that inTime has seen last; nil when the pocket was filled anew
	ctx context.Context // of src
	now time.Duration   // an instant of src, no earlier than the last fill

	seen *handler.Message // the one that was handled when queue.look came by; guarded by queue.mu

	wake   sync.Cond // signalled for a worker that sleeps
	asleep bool      // guarded by queue.mu
}

// marks divide the messages of a pocket. Those before told are none of its
// business any more, those from there are finished, the one before next is handled
// (but told > next-1 when it is not, and next is 0 in an empty pocket), those from
// next to end wait. count is how many have ever been finished.
type marks struct{ told, next, end, count uint64 }

const (
	nextShift  = 5
	endShift   = 2 * nextShift
	countShift = 3 * nextShift
	markMask   = 1<<nextShift - 1
)

func unpack(p uint64) marks {
	return marks{p & markMask, p >> nextShift & markMask, p >> endShift & markMask, p >> countShift}
}

func (m marks) pack() uint64 {
	return m.told | m.next<<nextShift | m.end<<endShift | m.count<<countShift
}

// finish counts the current message as finished, unless it is answered already.
func (m *marks) finish() {
	if m.told < m.next {
		m.count++
	}
}

// next makes the current message a finished one, and the oldest that waits the
// current one. It returns nil if none waits.
func (p *pocket) next() *handler.Message {
	for {
		packed := p.marks.Load()
		m := unpack(packed)
		if m.next == m.end {
			return nil
		}
		m.finish()
		m.next++
		if p.marks.CompareAndSwap(packed, m.pack()) {
			return p.msgs[m.next-1]
		}
	}
}

// current returns the message that is handled, or was last; nil if the pocket is
// empty.
func (p *pocket) current() *handler.Message {
	if m := unpack(p.marks.Load()); m.next > 0 {
		return p.msgs[m.next-1]
	}
	return nil
}

// waiting returns how many messages wait, and the oldest of them.
func (p *pocket) waiting() (n int, oldest *handler.Message) {
	m := unpack(p.marks.Load())
	if m.next == m.end {
		return 0, nil
	}
	return int(m.end - m.next), p.msgs[m.next]
}

// finished returns how many messages were finished here, ever.
func (p *pocket) finished() uint64 { return unpack(p.marks.Load()).count }

// fill takes the n oldest messages of r, and makes the first of them the current
// one.
func (p *pocket) fill(r *ring, n int) *handler.Message {
	for i := range n {
		p.msgs[i] = r.pop()
	}
	clear(p.msgs[n:]) // or a handler that hangs would keep them
	p.src = nil
	p.marks.Store(marks{next: 1, end: uint64(n), count: p.finished()}.pack())
	return p.msgs[0]
}

// inTime says whether the context of a message goes on. The clock is looked at once
// for all that was taken together: that takes as long as handling a message does, and
// control sees to it that no pocket lasts for long.
func (p *pocket) inTime(m *handler.Message) bool {
	if src := m.Source(); src != p.src {
		p.src, p.ctx, p.now = src, src.Context(), src.Terms().Now()
	}
	return p.ctx.Err() == nil && m.Runs(p.now) || m.Context().Err() == nil
}

// clear makes a pocket in which nothing waits an empty one: what is settled shall
// not be kept.
func (p *pocket) clear() {
	p.marks.Store(marks{count: p.finished()}.pack())
	clear(p.msgs[:])
	p.seen, p.src, p.ctx = nil, nil, nil
}

// tell tells nsqd of all that is finished, the current message included. It is
// for the worker.
func (p *pocket) tell() {
	for {
		packed := p.marks.Load()
		m := unpack(packed)
		if m.told == m.next {
			return
		}
		first := m.told
		m.finish()
		m.told = m.next
		if p.marks.CompareAndSwap(packed, m.pack()) {
			p.answer(p.msgs[first:m.next])
			return
		}
	}
}

// pass tells nsqd of all that is finished but the current message, which the
// worker is going to answer by itself.
func (p *pocket) pass() {
	for {
		packed := p.marks.Load()
		m := unpack(packed)
		first := m.told
		m.told = m.next
		if p.marks.CompareAndSwap(packed, m.pack()) {
			p.answer(p.msgs[first : m.next-1])
			return
		}
	}
}

// untold says whether there are finished messages that nsqd was not told of.
func (m marks) untold() bool { return m.told+1 < m.next }

// empty puts all that waits back to the head of r, and tells nsqd of what is
// finished.
func (p *pocket) empty(r *ring) {
	for {
		packed := p.marks.Load()
		m := unpack(packed)
		if m.next == m.end && !m.untold() {
			return
		}
		was := m
		m.told, m.end = max(m.told, m.next-1), m.next
		if p.marks.CompareAndSwap(packed, m.pack()) {
			for i := was.end; i > was.next; i-- {
				r.unpop(p.msgs[i-1])
			}
			p.answer(p.msgs[was.told:m.told])
			return
		}
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
