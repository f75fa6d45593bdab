package conn

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Blocks of read memory start small, grow under load, and are small again on a connection without
// messages. Large messages get larger blocks, so that one read still contains several: without them a
// message of 16 KB costs 1.3 times as much on a sender.
const (
	idleBlock = 1 << 10
	minBlock  = 4 << 10
	maxBlock  = 64 << 10
	wideBlock = 256 << 10
	wideFrom  = 4 << 10 // size of a message in bytes
)

// block is read memory that message bodies point into. It is held by the read loop and once by each
// [handler.Read] with unsettled messages.
type block struct {
	buf  []byte
	held atomic.Int32
	free func() // release
	pool *blockPool
}

func (b *block) release() {
	if b.held.Add(-1) == 0 {
		b.pool.put(b)
	}
}

// blockPool reuses blocks of the standard sizes.
type blockPool struct{ free [9]sync.Pool }

// class returns the pool of blocks of n bytes, or nil.
func (p *blockPool) class(n int) *sync.Pool {
	if n < idleBlock || n > wideBlock || n&(n-1) != 0 {
		return nil
	}
	return &p.free[bits.Len(uint(n/idleBlock))-1]
}

// get returns a block of n bytes that is held once.
func (p *blockPool) get(n int) *block {
	if free := p.class(n); free != nil {
		if b, ok := free.Get().(*block); ok {
			b.held.Store(1)
			return b
		}
	}
	b := &block{buf: make([]byte, n), pool: p}
	b.free = b.release
	b.held.Store(1)
	return b
}

func (p *blockPool) put(b *block) {
	if poison {
		b.buf[0] = 0xDB
		for n := 1; n < len(b.buf); n *= 2 { // byte by byte is slow under the race detector
			copy(b.buf[n:], b.buf[:n])
		}
	}
	if free := p.class(len(b.buf)); free != nil {
		free.Put(b)
	}
}
