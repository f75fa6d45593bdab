package conn

import (
	"sync"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/wire"
)

const (
	shardCount = 8 // a power of two
	finLength  = len("FIN 0123456789abcdef\n")
)

// ackShard buffers FINs so that goroutines do not contend for outbox.mu: only the first FIN after a
// write locks it. Every write and every other command flushes all shards, so no FIN waits and the
// answers of one goroutine keep their order.
type ackShard struct {
	mu     sync.Mutex
	buf    []byte
	oldest time.Duration // when the first of the messages was read
	closed bool

	_ [128]byte // shards share no cache line
}

// finish queues the FINs of all msgs, or of none if the outbox is closed.
func (o *outbox) finish(hint int, msgs []handler.Delivery) bool {
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
		s.oldest = min(s.oldest, msgs[i].Read().At)
	}
	s.mu.Unlock()
	if first {
		o.mu.Lock()
		o.sharded = true
		o.unlock()
	}
	return true
}

// flushShards moves all FINs to o.buf; last closes the shards. The caller holds o.mu.
func (o *outbox) flushShards(last bool) {
	o.sharded = false
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.Lock()
		o.buf = append(o.buf, s.buf...)
		n := uint64(len(s.buf) / finLength)
		s.buf = s.buf[:0]
		o.oldest, s.oldest = min(o.oldest, s.oldest), never
		s.closed = s.closed || last
		s.mu.Unlock()
		o.rdy.inFlight -= int(n)
		o.stats.finished += n
	}
}

// closeShards closes the shards of a dead outbox; their FINs are lost.
func (o *outbox) closeShards() {
	o.mu.Lock()
	o.flushShards(true)
	o.mu.Unlock()
}

func (s *ackShard) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.buf) / finLength
}
