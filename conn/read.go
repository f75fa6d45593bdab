package conn

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/wire"
)

// reader is the read loop. It parses frames in place and delivers the messages of a block together.
type reader struct {
	c      *Conn
	sink   Sink
	worker Worker        // the sink, if it works
	turn   *Turn         // of the goroutine that runs loop; nil without a worker
	ended  chan struct{} // closed when nothing is read any more
	pool   *blockPool

	cur        *block
	start, end int // cur.buf[start:end] is read and not parsed
	need       int // size of the frame at start, if known
	size       int // of the next block
	last       int // size of the last message; 0 if there was none for a while
	sparse     int // consecutive reads that used little
	beats      int // heartbeats since the last message

	msgs      []handler.Delivery // preallocated messages
	least     int                // to allocate together
	batch     int                // number of msgs parsed and not delivered
	delivered int                // messages that the worker does not know of
	err       error              // of parse
	bytes     int                // of the bodies of the batch
	reads     []handler.Read
	read      *handler.Read // of the last message of the batch; nil if there is none
	skip      skip

	behind   bool          // the last read did not block
	now      time.Duration // when the last read returned
	arrived  time.Duration // when what it has read may have arrived at the earliest
	left     time.Duration // when the goroutine began to handle messages for long …
	late     time.Duration // … and until when what arrived meanwhile may still be read; 0: all is read
	began    time.Duration // when the first byte of the frame at start arrived
	deadline time.Duration // read deadline in force
}

// Messages are allocated together, at most as many as the block holds, and never reused: a context
// may outlive its handler. The minimum grows, because many connections receive few messages. At most 16
// together cost a tenth more CPU on a sender, and four times the allocations.
const (
	firstTogether = 4
	leastTogether = 32
	mostTogether  = 64
)

// quietBeats is how many heartbeats must come without a message between them before memory is given
// back.
const quietBeats = 2

// noWait is shorter than any read that waits for the network.
const noWait = 20 * time.Microsecond

const (
	// longAway is how long the goroutine that reads may handle messages before that counts for what has
	// arrived meanwhile: nsqd's message timeouts run.
	longAway = time.Millisecond

	// longWait is longer than any read of what has arrived before.
	longWait = 50 * time.Millisecond
)

func newReader(c *Conn, sink Sink) *reader {
	now := c.terms.Now()
	r := &reader{
		c: c, sink: sink, ended: make(chan struct{}), pool: new(blockPool), size: idleBlock, least: firstTogether,
		began: now, now: now, skip: newSkip(c),
	}
	if t := c.terms.MessageTimeout; c.cfg.HeartbeatInterval >= minWorkBeat && (t <= 0 || t >= minWorkTimeout) {
		r.worker, _ = sink.(Worker)
	}
	r.cur = r.pool.get(r.size)
	return r
}

// loop reads until the connection ends, or t does: then it returns nil.
func (r *reader) loop(t *Turn) error {
	if r.worker != nil {
		r.turn = t
	}
	for {
		if err := r.extend(); err != nil {
			return err
		}
		if err := r.fill(); err != nil {
			return err
		}
		if r.need == 0 && r.skip.left == 0 {
			r.began = r.arrived
		}
		r.err = r.parse()
		r.deliver()
		if !r.work(t) {
			return nil
		}
		if r.err != nil {
			return r.err
		}
	}
}

// work lets the worker handle what was delivered. It returns false if another goroutine reads on: nothing
// of r may be used then.
func (r *reader) work(t *Turn) bool {
	n := r.delivered
	if r.delivered = 0; n == 0 || r.worker == nil {
		return true
	}
	if r.worker.Work(t, n) {
		return false
	}
	r.c.out.release(t)
	return true
}

// extend moves the read deadline to two heartbeat intervals after the first byte of the current
// frame, in steps of at least a quarter interval to save system calls.
func (r *reader) extend() error {
	beat := r.c.cfg.HeartbeatInterval
	if r.began+2*beat < r.deadline+beat/4 {
		return nil
	}
	r.deadline = r.began + 2*beat
	return r.c.tr.nc.SetReadDeadline(r.c.terms.Start.Add(r.deadline))
}

func (r *reader) fill() error {
	r.makeRoom()
	last, before := r.now, r.c.terms.Now()
	if before-last > longAway {
		r.left, r.late = last, before+(before-last)
	}
	for range 100 {
		free := r.cur.buf[r.end:]
		n, err := r.c.tr.r.Read(free)
		r.end += n
		r.adapt(n, len(free))
		r.now = r.c.terms.Now()
		if n > 0 {
			r.behind = r.now-before < noWait
			r.arrived = r.now
			if r.now < r.late && r.now-before < longWait {
				r.arrived = r.left
			} else {
				r.late = 0
			}
			r.c.lastRead.Store(int64(r.now))
			// An error returned with data is returned again by the next read.
			return nil
		}
		if err != nil {
			if err == io.EOF && (r.start < r.end || r.skip.left > 0) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return io.ErrNoProgress
}

func (r *reader) adapt(n, free int) {
	least, largest := idleBlock, maxBlock
	if r.last > 0 {
		least = minBlock
	}
	if r.last >= wideFrom {
		largest = wideBlock
	}
	r.size = min(max(r.size, least), largest)
	switch {
	case n == free && free >= r.size/4:
		r.size = min(r.size*2, largest)
		r.sparse = 0
	case n > r.size/16:
		r.sparse = 0
	default:
		if r.sparse++; r.sparse == 64 {
			r.size = max(r.size/2, least)
			r.sparse = 0
		}
	}
}

// shrink gives back what only messages need. The next read gets a small block.
func (r *reader) shrink() {
	r.size, r.sparse, r.last = idleBlock, 0, 0
	r.msgs, r.reads, r.least = nil, nil, firstTogether
}

// makeRoom ensures that a partial frame fits.
func (r *reader) makeRoom() {
	have, full := r.end-r.start, len(r.cur.buf)
	reusable := full == r.size && r.cur.held.Load() == 1 // no message lies in the block
	switch {
	case have == 0 && reusable:
		r.start, r.end = 0, 0
	case have == 0 && (full != r.size || full-r.end < r.size/8):
		r.move(r.size)
	case have == 0 || r.need <= full-r.start:
		// There is room.
	case r.need > r.size/2:
		// A large frame gets its own memory, which grows with the bytes that arrive: a frame header
		// alone costs nothing.
		r.move(min(r.need, max(2*have, maxBlock)))
	case reusable:
		copy(r.cur.buf, r.cur.buf[r.start:r.end])
		r.start, r.end = 0, have
	default:
		r.move(r.size)
	}
}

func (r *reader) move(n int) {
	b := r.pool.get(n)
	have := copy(b.buf, r.cur.buf[r.start:r.end])
	r.cur.release()
	r.cur, r.start, r.end = b, 0, have
}

func (r *reader) parse() error {
	for r.start < r.end {
		if r.skip.left > 0 {
			if err := r.discard(); err != nil {
				return err
			}
			continue
		}
		typ, data, n, need, err := wire.NextFrame(r.cur.buf[r.start:r.end], r.skip.most)
		if err != nil {
			return err
		}
		if size := max(n, need); typ == wire.FrameMessage && size > r.skip.above {
			if need, err = r.startSkip(size); err != nil {
				return err
			}
			if need == 0 {
				continue
			}
		}
		if n == 0 {
			r.need = need
			return nil
		}
		if typ == wire.FrameMessage {
			err = r.message(data)
		} else {
			r.deliver() // a reply to CLS follows the messages sent before it
			err = r.control(typ, data)
		}
		if err != nil {
			return err
		}
		r.start += n
		r.began = r.arrived
	}
	r.need = 0
	return nil
}

func (r *reader) message(data []byte) error {
	if r.c.sub == nil {
		return errors.New("nsqx: message on a connection that has not subscribed")
	}
	timestamp, attempts, id, body, err := wire.DecodeMessage(data)
	if err != nil {
		return err
	}
	if r.batch == len(r.msgs) {
		r.deliver()
		if len(r.msgs) == 0 {
			left := (r.end - r.start) / (wire.HeaderLen + len(data)) // if they have the same size
			r.msgs = make([]handler.Delivery, min(max(left, r.least), mostTogether))
			r.least = min(2*r.least, leastTogether)
		}
	}
	// nsqd's timeout runs from the first byte, however long the rest took.
	if r.read == nil || r.read.At != r.began {
		r.newRead()
	}
	r.last, r.beats = len(data), 0
	m := &r.msgs[r.batch]
	r.batch++
	r.bytes += len(body)
	m.Init(r.read, id, attempts, timestamp, body)
	return nil
}

func (r *reader) newRead() {
	if len(r.reads) == 0 {
		r.reads = make([]handler.Read, r.least)
	}
	r.read, r.reads = &r.reads[0], r.reads[1:]
	r.read.Source, r.read.At, r.read.Free = r.c, r.began, r.cur.free
	r.read.Plain = r.c.sub != nil && r.c.sub.Plain
	r.cur.held.Add(1)
}

func (r *reader) deliver() {
	if r.batch == 0 {
		return
	}
	batch := r.msgs[:r.batch:r.batch]
	r.msgs = r.msgs[r.batch:]
	r.c.out.received(flow.Arrival{Messages: len(batch), At: r.now, Behind: r.behind, Age: r.age(&batch[len(batch)-1])}, r.bytes, r.turn)
	r.delivered += len(batch)
	r.batch, r.bytes, r.read = 0, 0, nil
	r.sink.Deliver(r.c, batch)
}

// age returns how long ago nsqd accepted a message that was just read.
func (r *reader) age(m *handler.Delivery) time.Duration {
	return r.c.terms.Start.Add(r.now).Sub(m.Timestamp())
}

func (r *reader) control(typ wire.FrameType, data []byte) error {
	c := r.c
	switch {
	case typ == wire.FrameError:
		err := c.tr.parseError(data)
		if err.Fatal() {
			failure := c.tr.meaning(err)
			c.out.fail(err.Code, failure)
			return failure
		}
		if c.sub == nil {
			return err // the error is about a message, so it answers no publish
		}
		if err.Code == "E_TOUCH_FAILED" {
			c.expire(err.Text)
		}
		c.out.refused(err)
		r.sink.Refused(c, err)
	case wire.IsHeartbeat(data):
		c.out.heartbeat()
		if r.beats++; r.beats == quietBeats {
			r.shrink()
		}
	case c.sub == nil:
		if string(data) != wire.OK || !c.out.confirm(r.now, c.cfg.PublishTimeout) {
			return fmt.Errorf("nsqx: response %.64q that nothing was published for", c.tr.redact(data))
		}
	case string(data) == wire.CloseWait:
		select {
		case <-c.closeWait:
		default:
			close(c.closeWait)
		}
	}
	// Other responses answer no command and are ignored.
	return nil
}
