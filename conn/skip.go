package conn

import (
	"fmt"

	"github.com/nsqx/nsqx/internal/wire"
)

// largestSkipped is the size in bytes of the largest body that is skipped. A frame beyond it is no
// message: the stream is corrupt.
const largestSkipped = 256 << 20

// SizeError is why a message was delivered without its body: it is above [Config].MaxMessageSize.
type SizeError struct {
	Size, Limit int // of the body, in bytes
}

// Error names the setting to change.
func (e *SizeError) Error() string {
	return fmt.Sprintf("nsqx: message of %d bytes is above the limit of %d, so its body was not read: raise conn.Config.MaxMessageSize", e.Size, e.Limit)
}

// ErrorType is the error.type of telemetry.
func (e *SizeError) ErrorType() string { return "message_too_large" }

// skip is the state of a message frame that is too large: its bytes are discarded as they arrive, and
// then the message is delivered without its body, to be answered like any other.
type skip struct {
	most  int // largest body that is accepted or skipped
	above int // length of the largest frame that is accepted

	head [wire.MessageHeaderLen]byte
	size int // of the body
	left int // bytes of the frame that are to be discarded
}

func newSkip(c *Conn) skip {
	limit := c.cfg.MaxMessageSize
	s := skip{most: limit, above: wire.HeaderLen + wire.MessageHeaderLen + limit}
	if c.sub != nil {
		s.most = max(limit, largestSkipped)
	}
	return s
}

// startSkip begins to skip the frame of n bytes at start. need is how many bytes of it must be there
// first; 0 if it has begun.
func (r *reader) startSkip(n int) (need int, err error) {
	const head = wire.HeaderLen + wire.MessageHeaderLen
	if r.end-r.start < head {
		return head, nil
	}
	copy(r.skip.head[:], r.cur.buf[r.start+wire.HeaderLen:])
	if _, _, _, _, err := wire.DecodeMessage(r.skip.head[:]); err != nil {
		return 0, err // corrupt: known before all of it has come
	}
	r.skip.size, r.skip.left, r.need = n-head, n, 0
	return 0, nil
}

// discard skips what has arrived. At the end of the frame it delivers the message.
func (r *reader) discard() error {
	n := min(r.skip.left, r.end-r.start)
	r.start += n
	if r.skip.left -= n; r.skip.left > 0 {
		return nil
	}
	if err := r.message(r.skip.head[:]); err != nil {
		return err
	}
	m := &r.msgs[r.batch-1]
	m.Body = nil
	m.SetFault(&SizeError{Size: r.skip.size, Limit: r.c.cfg.MaxMessageSize})
	r.c.out.skipped()
	r.began = r.arrived
	return nil
}

func (o *outbox) skipped() {
	o.mu.Lock()
	o.stats.tooLarge++
	o.mu.Unlock()
}
