package conn

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/wire"
)

// outbox is what the write loop will send: commands already encoded, and the
// few things that it computes when it takes them.
type outbox struct {
	shards [shardCount]ackShard
	rdy    rdy // guarded by mu

	bufferSize int // of nsqd's output buffer, in bytes

	mu       sync.Mutex
	ready    sync.Cond         // signalled when an idle write loop has work
	idle     bool              // the write loop waits
	burst    bool              // the last write was a large one
	buf      []byte            // headroom, then the commands queued
	spare    []byte            // the buffer that was written last
	expiring []expiringCommand // commands in buf that must not be sent late
	sharded  bool              // there are FINs in a lane

	nop     bool // a heartbeat is to be answered
	cls     bool // CLS was queued: no RDY behind it
	closing bool // it was written
	half    bool // close the writing half when all is written
	written bool // it is, and only the half-close is left to do

	pubs pubs

	stats outStats
	dead  atomic.Bool // nothing can be queued any more; written under the lock
}

// outStats counts what was queued or not; guarded by outbox.mu.
type outStats struct {
	published                   uint64
	received, bytesReceived     uint64
	finished, requeued, touched uint64
	expired, lost, refused      uint64
	writes, bytesWritten        uint64
}

// timed is a command in outbox.buf which is void after an instant: a REQ, a TOUCH,
// or the FIN of a message that was given up. nsqd looks at connection and id
// only, so a late one would hit the next delivery.
type expiringCommand struct {
	m          *handler.Message
	counter    *uint64 // in outbox.stats: what it was counted as
	start, end int
	by         time.Duration
}

// headroom is left free at the front of the buffer for an RDY that lowers and
// so must go out before the answers.
const headroom = 16

func (o *outbox) init() {
	o.ready.L = &o.mu
	o.buf = make([]byte, headroom, 256)
	o.spare = make([]byte, headroom, 256)
}

// unlock ends a critical section in which work was added, and wakes the write
// loop if it waits.
func (o *outbox) unlock() {
	wake := o.idle && o.pending()
	if wake {
		o.idle = false
	}
	o.mu.Unlock()
	if wake {
		o.ready.Signal()
	}
}

// answerKind is what the client tells nsqd about a message.
type answerKind uint8

const (
	answerFinish  answerKind = iota // FIN; nsqd may read it late
	answerGiveUp                    // FIN that is void after the message timeout
	answerRequeue                   // REQ, void after the message timeout
)

// answer queues the answer to a message; ms is the delay of a REQ. It returns false if nothing can be
// queued any more.
func (o *outbox) answer(m *handler.Message, kind answerKind, ms int64) bool {
	o.mu.Lock()
	o.rdy.inFlight--
	if o.dead.Load() {
		o.stats.lost++
		o.mu.Unlock()
		return false
	}
	start, counter := o.end(), &o.stats.finished
	if kind == answerRequeue {
		counter = &o.stats.requeued
		o.buf = wire.AppendREQ(o.buf, (*wire.ID)(&m.ID), ms)
	} else {
		o.buf = wire.AppendFIN(o.buf, (*wire.ID)(&m.ID))
	}
	*counter++
	if kind != answerFinish {
		o.addExpiring(m, counter, start)
	}
	o.unlock()
	return true
}

// touch queues a TOUCH, but not behind the answer to the message: it would hit
// the next delivery.
func (o *outbox) touch(m *handler.Message) error {
	o.mu.Lock()
	if o.dead.Load() {
		o.mu.Unlock()
		return handler.ErrConnLost
	}
	if m.Claimed() {
		o.mu.Unlock()
		return handler.ErrSettled
	}
	start := o.end()
	o.buf = wire.AppendTOUCH(o.buf, (*wire.ID)(&m.ID))
	o.stats.touched++
	o.addExpiring(m, &o.stats.touched, start)
	o.unlock()
	return nil
}

// end is where the next command goes, after all that was queued before. The
// caller holds o.mu.
func (o *outbox) end() int {
	o.flushShards(false) // also of those whose first FIN has not been announced yet
	return len(o.buf)
}

// addExpiring counts the command that was appended from start on, and remembers it
// if it may become late.
func (o *outbox) addExpiring(m *handler.Message, counter *uint64, start int) {
	if by, ok := m.AnswerBy(); ok {
		o.expiring = append(o.expiring, expiringCommand{m, counter, start, len(o.buf), by})
	}
}

// forget takes a message that gets no answer out of the account.
func (o *outbox) forget() {
	o.mu.Lock()
	o.rdy.inFlight--
	if o.dead.Load() {
		o.stats.lost++
	} else {
		o.stats.expired++
	}
	o.unlock() // RDY may be lower now
}

func (o *outbox) refused() {
	o.mu.Lock()
	o.stats.refused++
	o.mu.Unlock()
}

func (o *outbox) heartbeat() {
	o.mu.Lock()
	o.nop = true
	o.unlock()
}

func (o *outbox) stopDelivery() {
	o.mu.Lock()
	if !o.cls && !o.dead.Load() && !o.half {
		o.cls = true
		o.end() // its answer is to prove that nsqd has read what was answered before
		o.buf = wire.AppendCLS(o.buf)
	}
	o.unlock()
}

func (o *outbox) closeWrite() {
	o.mu.Lock()
	o.half = true
	o.unlock()
}

// lastWritten notes that the write loop has come to its end, and says whether a
// half-close was asked for.
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

// refuse lets nothing more be queued.
func (o *outbox) refuse() {
	o.mu.Lock()
	o.dead.Store(true)
	o.mu.Unlock()
	o.closeShards()
}

// close ends the write loop and whoever waits for an answer, for a reason.
func (o *outbox) close(reason error) {
	o.mu.Lock()
	o.dead.Store(true)
	o.rdy.stopNudge()
	o.unlock()
	o.closeShards()
	o.endPublishes(reason)
}
