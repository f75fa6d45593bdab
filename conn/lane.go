package conn

import (
	"sync"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/wire"
)

const (
	laneCount = 8 // a power of two
	finLength = len("FIN 0123456789abcdef\n")
)

// lane collects FINs, which are most of what there is to write, for those who would contend for the outbox otherwise: it
// is asked for its lock only by the first FIN after a write. The write loop empties all lanes whenever it writes, so a FIN never
// waits for the next one. So does who queues anything else, so that what one goroutine answers keeps its order.
type lane struct {
	mu   sync.Mutex
	buf  []byte
	shut bool // nothing can be queued any more

	_ [128]byte // so that lanes share no cache lines
}

// finish queues FINs in a lane: all or, if nothing can be queued any more, none.
func (o *outbox) finish(hint int, msgs []handler.Delivery) bool {
	l := &o.lanes[hint&(laneCount-1)]
	l.mu.Lock()
	if l.shut {
		l.mu.Unlock()
		for range msgs {
			o.forget()
		}
		return false
	}
	first := len(l.buf) == 0
	for i := range msgs {
		l.buf = wire.AppendFIN(l.buf, (*wire.ID)(&msgs[i].ID))
	}
	l.mu.Unlock()
	if first {
		o.mu.Lock()
		o.laned = true
		o.unlock()
	}
	return true
}

// emptyLanes moves what the lanes hold to the outbox, and shuts them if it is the last time. The caller holds o.mu.
func (o *outbox) emptyLanes(last bool) {
	o.laned = false
	for i := range o.lanes {
		l := &o.lanes[i]
		l.mu.Lock()
		o.buf = append(o.buf, l.buf...)
		n := uint64(len(l.buf) / finLength)
		l.buf = l.buf[:0]
		l.shut = l.shut || last
		l.mu.Unlock()
		o.rdy.inFlight -= int(n)
		o.stats.finished += n
	}
}

// shutLanes lets nothing more be queued in the lanes. The outbox is dead by then: what they hold is lost.
func (o *outbox) shutLanes() {
	o.mu.Lock()
	o.emptyLanes(true)
	o.mu.Unlock()
}

// pending is how many FINs the lane holds.
func (l *lane) pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.buf) / finLength
}
