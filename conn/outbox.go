package conn

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/wire"
)

// outbox holds encoded commands, and the state from which the write loop derives NOP and RDY.
type outbox struct {
	rdy   rdy // guarded by mu
	terms *handler.Terms

	bufferSize int // of nsqd's output buffer, in bytes

	mu       sync.Mutex
	ready    sync.Cond // signalled when an idle write loop has work
	idle     bool
	holder   *Turn             // for whose Flush what it queues waits; nil: the write loop writes
	flushing bool              // Flush writes at present
	burst    bool              // the last write was large
	largest  int               // bytes of the largest write since the last heartbeat
	buf      []byte            // headroom, then queued commands
	spare    []byte            // the buffer written last
	expiring []expiringCommand // commands in buf that must not be sent late
	oldest   time.Duration     // when the first of the messages was read whose FINs are in buf

	nop     bool // a heartbeat is unanswered
	cls     bool // CLS was queued; no RDY may follow
	closing bool // CLS was taken to be written
	half    bool // close the writing half after everything is written
	written bool // everything is written; only the half-close is left

	pubs pubs

	skew     func() time.Duration // how far the wall clock has run ahead since terms.Start
	lastSkew time.Duration

	stats outStats
	dead  atomic.Bool // nothing can be queued; set under mu
	full  atomic.Bool // the whole quota was in flight after the last message; set under mu
}

// outStats is guarded by outbox.mu.
type outStats struct {
	published                   uint64
	received, bytesReceived     uint64
	tooLarge                    uint64 // of received
	finished, requeued, touched uint64
	expired, lost, refused      uint64
	writes, bytesWritten        uint64
}

// expiringCommand is a REQ, a TOUCH, or the FIN of a message that was given up. nsqd matches
// commands to deliveries by connection and id only, so a late one would hit the next delivery.
type expiringCommand struct {
	m          *handler.Delivery
	counter    *uint64 // in outbox.stats
	start, end int     // of buf
	by         time.Duration
}

// headroom leaves space for a lowered RDY, which must precede the answers.
const headroom = 16

func (o *outbox) init(terms *handler.Terms) {
	o.terms = terms
	o.skew = func() time.Duration { return skew(terms.Start) }
	o.ready.L = &o.mu
	o.buf, o.spare = newBuffer(), newBuffer()
	o.oldest = never
}

// never is later than any instant.
const never = time.Duration(math.MaxInt64)

// unlock also wakes an idle write loop if there is work, though a turn holds it.
func (o *outbox) unlock() {
	if o.holder != nil && !o.flushing && o.pending() {
		o.unhold()
	}
	wake := o.idle && o.pending()
	if wake {
		o.idle = false
	}
	o.mu.Unlock()
	if wake {
		o.ready.Signal()
	}
}

// unlockPatient is unlock for what may wait for a turn that holds it.
func (o *outbox) unlockPatient() {
	if o.holder != nil {
		o.mu.Unlock()
		return
	}
	o.unlock()
}

// answerKind is what the client tells nsqd about a message.
type answerKind uint8

const (
	answerFinish  answerKind = iota // FIN; valid even after the message timeout
	answerGiveUp                    // FIN; void after the message timeout
	answerRequeue                   // REQ; void after the message timeout
)

// answer queues an answer; ms is the delay of a REQ. It returns false if the outbox is dead.
func (o *outbox) answer(m *handler.Delivery, kind answerKind, ms int64) bool {
	o.mu.Lock()
	o.rdy.inFlight--
	if o.dead.Load() {
		o.stats.lost++
		o.mu.Unlock()
		return false
	}
	start, counter := len(o.buf), &o.stats.finished
	if kind == answerRequeue {
		counter = &o.stats.requeued
		o.buf = wire.AppendREQ(o.buf, (*wire.ID)(&m.ID), ms)
	} else {
		o.buf = wire.AppendFIN(o.buf, (*wire.ID)(&m.ID))
	}
	*counter++
	if kind == answerFinish {
		o.oldest = min(o.oldest, m.Read().At)
	} else {
		o.addExpiring(m, counter, start)
	}
	o.unlock()
	return true
}

// finish queues the FINs of all msgs, or of none if the outbox is dead.
func (o *outbox) finish(msgs []handler.Delivery) bool {
	n := uint64(len(msgs))
	o.mu.Lock()
	o.rdy.inFlight -= len(msgs)
	if o.dead.Load() {
		o.stats.lost += n
		o.mu.Unlock()
		return false
	}
	for i := range msgs {
		o.buf = wire.AppendFIN(o.buf, (*wire.ID)(&msgs[i].ID))
		o.oldest = min(o.oldest, msgs[i].Read().At)
	}
	o.stats.finished += n
	o.unlockPatient()
	return true
}

// touch fails once m is claimed: a TOUCH behind the answer would hit the next delivery.
func (o *outbox) touch(m *handler.Delivery) error {
	o.mu.Lock()
	if o.dead.Load() {
		o.mu.Unlock()
		return handler.ErrConnLost
	}
	if m.Claimed() {
		o.mu.Unlock()
		return handler.ErrSettled
	}
	start := len(o.buf)
	o.buf = wire.AppendTOUCH(o.buf, (*wire.ID)(&m.ID))
	o.stats.touched++
	o.addExpiring(m, &o.stats.touched, start)
	o.unlock()
	return nil
}

// addExpiring records the command that starts at start, if m has a deadline.
func (o *outbox) addExpiring(m *handler.Delivery, counter *uint64, start int) {
	if by, ok := m.AnswerBy(); ok {
		o.expiring = append(o.expiring, expiringCommand{m, counter, start, len(o.buf), by})
	}
}

func (o *outbox) forget() {
	o.mu.Lock()
	o.rdy.inFlight--
	if o.dead.Load() {
		o.stats.lost++
	} else {
		o.stats.expired++
		o.rdy.drift.Doubt(o.terms.Now())
	}
	o.unlock() // RDY may be lower now
}

func (o *outbox) heartbeat() {
	o.mu.Lock()
	o.checkClock()
	o.shrink()
	o.nop = true
	o.unlockPatient()
}

func (o *outbox) stopDelivery() {
	o.mu.Lock()
	if !o.cls && !o.dead.Load() && !o.half {
		o.cls = true
		o.buf = wire.AppendCLS(o.buf)
	}
	o.unlock()
}

func (o *outbox) closeWrite() {
	o.mu.Lock()
	o.half = true
	o.unlock()
}

// lastWritten reports whether a half-close was requested.
func (o *outbox) lastWritten() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.written = o.half
	return o.half
}

func (o *outbox) allWritten() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written
}

func (o *outbox) refuse() {
	o.mu.Lock()
	o.dead.Store(true)
	o.mu.Unlock()
}

func (o *outbox) close(reason error) {
	o.mu.Lock()
	o.dead.Store(true)
	o.rdy.stopNudge()
	o.rdy.drift.stop()
	o.unlock()
	o.endPublishes(reason)
}
