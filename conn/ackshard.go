package conn

import (
	"sync"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/wire"
)

const (
	shardCount = 8 // a power of two
	finLength  = len("FIN 0123456789abcdef\n")
)

// lane collects FINs, which are most of what there is to write, for those who would contend for the outbox otherwise: it
// is asked for its lock only by the first FIN after a write. The write loop empties all lanes whenever it writes, so a FIN never
// waits for the next one. So does who queues anything else, so that what one goroutine answers keeps its order.
type ackShard struct {
	mu     sync.Mutex
	buf    []byte
	closed bool // nothing can be queued any more

	_ [128]byte // so that lanes share no cache lines
}

// finish queues FINs in a lane: all or, if nothing can be queued any more, none.
func (o *outbox) finish(hint int, msgs []handler.Message) bool {
	s := &o.shards[hint&(shardCount-1)]
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		for range msgs {
			o.forget()
		}
		return false
	}
	first := len(s.buf) == 0
	for i := range msgs {
		s.buf = wire.AppendFIN(s.buf, (*wire.ID)(&msgs[i].ID))
	}
	s.mu.Unlock()
	if first {
		o.mu.Lock()
		o.sharded = true
		o.unlock()
	}
	return true
}

// flushShards moves what the lanes hold to the outbox, and shuts them if it is the last time. The caller holds o.mu.
func (o *outbox) flushShards(last bool) {
	o.sharded = false
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.Lock()
		o.buf = append(o.buf, s.buf...)
		n := uint64(len(s.buf) / finLength)
		s.buf = s.buf[:0]
		s.closed = s.closed || last
		s.mu.Unlock()
		o.rdy.inFlight -= int(n)
		o.stats.finished += n
	}
}

// closeShards lets nothing more be queued in the lanes. The outbox is dead by then: what they hold is lost.
func (o *outbox) closeShards() {
	o.mu.Lock()
	o.flushShards(true)
	o.mu.Unlock()
}

// pending is how many FINs the lane holds.
func (s *ackShard) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.buf) / finLength
}
