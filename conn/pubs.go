package conn

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nsqx/nsqx/internal/wire"
)

// Publishing waits while this much is unanswered. Below the limit any size is accepted: a large
// publish would never find room beside many small ones.
const (
	maxUnanswered      = 16384    // messages
	maxUnansweredBytes = 16 << 20 // of their bodies
)

// maxShared bounds an MPUB of several publishes, in bytes: nsqd answers them only together.
const maxShared = 256 << 10

// pubs is guarded by outbox.mu, except for the pools.
type pubs struct {
	queued    []*command // oldest first
	sent      []*command // unanswered, oldest first; nsqd answers in this order
	messages  int        // in queued and sent
	bytes     int        // of those messages
	room      *room      // nil unless somebody waits
	writes    int        // writes with unanswered commands
	maxWrites int

	timer    *time.Timer // of the oldest sent command; nil until needed
	armed    bool
	checks   sync.WaitGroup // calls of checkPublishes that are due or under way
	progress time.Duration  // when the write under way has begun, or nsqd has read of it
	debt     debt
	usual    time.Duration // how long answers take: the longest of late, forgotten slowly

	// Without these pools a publish costs 1.7 times as much CPU.
	waiters  sync.Pool // of waiter
	commands sync.Pool // of *command
}

// command is a PUB, a DPUB or an MPUB.
type command struct {
	topic   string
	ms      int64 // of a DPUB
	closed  bool  // no other publish may join
	items   []byte
	n       int // messages in items
	waiters []waiter
	sent    time.Duration // when its write was complete; never: it is being written
	last    bool          // last command of its write
}

// room is what publishes wait for.
type room struct {
	over chan struct{} // closed when there is room, or none is to be waited for
	err  error         // why none is to be waited for; set before
}

// waiter is buffered: a caller that has gone blocks nobody.
type waiter chan result

type result struct{ kind, err error }

func (q *pubs) waiter() waiter {
	if w, ok := q.waiters.Get().(waiter); ok {
		return w
	}
	return make(waiter, 1)
}

func (q *pubs) command() *command {
	if c, ok := q.commands.Get().(*command); ok {
		return c
	}
	return new(command)
}

func (q *pubs) recycle(c *command) {
	if cap(c.items) > maxShared {
		return
	}
	clear(c.waiters)
	*c = command{items: c.items[:0], waiters: c.waiters[:0]}
	q.commands.Put(c)
}

// publish queues p. If there is no room, the caller waits for it; nil means that the connection accepts
// nothing.
func (o *outbox) publish(p *Pub, w waiter, maxBody int) (queued bool, wait *room) {
	size := 0
	for _, body := range p.Bodies {
		size += wire.ItemLen(body)
	}
	o.mu.Lock()
	defer o.unlock()
	q := &o.pubs
	if o.dead.Load() || o.half {
		return false, nil
	}
	if q.messages >= maxUnanswered || q.bytes >= maxUnansweredBytes {
		if q.room == nil {
			q.room = &room{over: make(chan struct{})}
		}
		return false, q.room
	}
	c := q.joinable(p, size, maxBody)
	if c == nil {
		c = q.command()
		c.topic, c.ms, c.closed = p.Topic, p.ms(), p.Alone || p.Delay > 0 || len(p.Bodies) > 1
		q.queued = append(q.queued, c)
	}
	for _, body := range p.Bodies {
		c.items = wire.AppendItem(c.items, body)
	}
	if o.stats.published == 0 {
		q.debt.untested.Store(true)
	}
	c.n += len(p.Bodies)
	c.waiters = append(c.waiters, w)
	q.messages += len(p.Bodies)
	q.bytes += size
	return true, nil
}

// joinable returns a queued command that p can join, or nil. It searches only the last few.
func (q *pubs) joinable(p *Pub, size, maxBody int) *command {
	if p.Alone || p.Delay > 0 || len(p.Bodies) > 1 {
		return nil
	}
	for i := len(q.queued) - 1; i >= max(len(q.queued)-16, 0); i-- {
		c := q.queued[i]
		if !c.closed && c.topic == p.Topic && len(c.items)+size+4 <= min(maxShared, maxBody) {
			return c
		}
	}
	return nil
}

// maxWrites returns how many writes may be unanswered before publishes wait and are combined. A
// long round trip needs more.
func maxWrites(rtt time.Duration) int { return 2 + int(rtt/(250*time.Microsecond)) }

func (o *outbox) publishesDue() bool {
	q := &o.pubs
	return len(q.queued) > 0 && (q.writes < q.maxWrites || o.half)
}

// writeSize bounds, roughly, the publishes of one write in bytes.
const writeSize = 1 << 20

// encodePublishes requires o.mu.
func (o *outbox) encodePublishes() {
	q := &o.pubs
	n := 0
	for n < len(q.queued) && (len(o.buf) < writeSize || o.half) {
		c := q.queued[n]
		if c.ms > 0 {
			o.buf = wire.AppendDeferredItem(o.buf, c.topic, c.ms, c.items)
		} else {
			o.buf = wire.AppendItems(o.buf, c.topic, c.n, c.items)
		}
		c.sent = never
		q.sent = append(q.sent, c)
		n++
	}
	q.sent[len(q.sent)-1].last = true
	q.writes++
	q.queued = slices.Delete(q.queued, 0, n)
}

// remove requires outbox.mu.
func (q *pubs) remove(c *command) {
	q.messages -= c.n
	q.bytes -= len(c.items)
	if q.messages <= maxUnanswered/2 && q.bytes <= maxUnansweredBytes/2 {
		q.endWait(nil)
	}
}

// endWait ends the wait for room: err says why there is none. It requires outbox.mu.
func (q *pubs) endWait(err error) {
	if q.room != nil {
		q.room.err = err
		close(q.room.over)
		q.room = nil
	}
}

func (q *pubs) resolve(c *command, kind, err error) {
	for _, w := range c.waiters {
		w <- result{kind, err}
	}
	q.recycle(c)
}

// confirm resolves the oldest publish, whose answer was read just now. It returns false if there is
// none.
func (o *outbox) confirm(now, timeout time.Duration) bool {
	q := &o.pubs
	o.mu.Lock()
	if len(q.sent) == 0 {
		o.mu.Unlock()
		return false
	}
	c := q.sent[0]
	q.sent[0] = nil
	if len(q.sent) > 1 {
		q.sent = q.sent[1:]
	} else {
		q.sent = q.sent[:0] // keep the capacity
	}
	q.remove(c)
	if c.last {
		q.writes--
	}
	o.stats.published += uint64(c.n)
	q.answered(now, max(now-c.sent, 0), timeout)
	o.unlock()
	q.resolve(c, nil, nil)
	return true
}

// fail resolves all publishes after nsqd refused the oldest. nsqd closes the connection and has not
// read the others.
func (o *outbox) fail(code string, err error) {
	sent, queued := o.takePublishes()
	for i, c := range append(sent, queued...) {
		if i == 0 && len(sent) > 0 {
			kind := refusal(code, len(c.waiters) > 1)
			if errors.Is(err, ErrTLSRequired) {
				kind = ErrNotSent // another nsqd may take it
			}
			o.pubs.resolve(c, kind, err)
			continue
		}
		o.pubs.resolve(c, ErrNotSent, errEarlierRefused)
	}
}

var errEarlierRefused = errors.New("nsqx: nsqd refused an earlier publish, and has closed the connection")

// refusal returns the kind of an nsqd error. shared: the MPUB had several callers.
func refusal(code string, shared bool) error {
	switch code {
	case "E_BAD_MESSAGE", "E_BAD_BODY":
		if shared { // one of them is too large; nsqd checks all before it takes any
			return ErrNotSent
		}
		return ErrRejected
	case "E_BAD_TOPIC", "E_INVALID", "E_UNAUTHORIZED":
		return ErrRejected
	case "E_AUTH_FAILED", "E_AUTH_FIRST", "E_AUTH_ERROR", "E_PUB_FAILED", "E_DPUB_FAILED":
		return ErrNotSent
	}
	return ErrUnconfirmed // E_MPUB_FAILED: nsqd may have taken some
}

func (o *outbox) endPublishes(err error) {
	sent, queued := o.takePublishes()
	for _, c := range sent {
		o.pubs.resolve(c, ErrUnconfirmed, err)
	}
	for _, c := range queued {
		o.pubs.resolve(c, ErrNotSent, err)
	}
}

// takePublishes removes all publishes and makes the outbox dead.
func (o *outbox) takePublishes() (sent, queued []*command) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := &o.pubs
	sent, queued = q.sent, q.queued
	q.sent, q.queued = nil, nil
	o.dead.Store(true)
	for _, c := range sent {
		q.remove(c)
	}
	for _, c := range queued {
		q.remove(c)
	}
	return sent, queued
}
