package conn

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/wire"
)

func (o *outbox) pending() bool {
	return len(o.buf) > headroom || o.publishesDue() || o.nop || o.half ||
		o.dead.Load() || o.rdy.yielded() || !o.cls && o.rdy.urgent()
}

// burst is the size in bytes of a large write, about a dozen answers. After one, the write loop
// yields to other goroutines: they have answers to add, and a system call costs as much as many
// messages. Without that a drain of a real nsqd takes a tenth more CPU at 0.9 of the rate. A single FIN
// is never delayed.
const burst = 256

const (
	// largestKept is the capacity in bytes of the largest buffer that is used again: a write of
	// publishes, which may exceed writeSize by one command, and what append adds to it. Publishing
	// 20 KB at a time from 64 goroutines costs 1.4 times as much CPU without it.
	largestKept = 2 * writeSize

	// smallBuffer is the capacity in bytes that an idle connection may keep.
	smallBuffer = 512
)

type work struct {
	bytes     []byte
	now       time.Duration
	last      bool // close the writing half afterwards
	ended     bool // the connection is dead
	publishes bool // bytes has publishes
	yielded   bool // nsqd obeys the quota once it has read bytes
}

// take waits for something to write. wrote: the last write had publishes, and is complete.
func (c *Conn) take(wrote bool) work {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if wrote {
		c.publishesWritten(c.terms.Now())
	}
	for !o.pending() {
		o.idle = true
		o.ready.Wait()
		if o.burst {
			o.mu.Unlock()
			runtime.Gosched()
			o.mu.Lock()
		}
	}
	if o.dead.Load() {
		return work{ended: true}
	}
	return c.compose()
}

// compose returns what is to be written. The caller holds o.mu.
func (c *Conn) compose() work {
	o := &c.out
	w := work{now: c.terms.Now(), last: o.half}
	if len(o.expiring) > 0 {
		o.checkClock()
		o.dropLate(w.now)
	}
	if len(o.buf) > headroom {
		o.rdy.drift.Answered(w.now)
	}
	if o.oldest != never {
		if t := &c.terms; t.MessageTimeout > 0 && w.now-o.oldest > t.MessageTimeout-t.Margin {
			o.noteLate(o.buf[headroom:])
		}
		o.oldest = never
	}
	if o.publishesDue() {
		o.encodePublishes()
		w.publishes = true
		o.pubs.progress = w.now
		c.watchPublishes(w.now)
	}
	buf := o.buf
	if o.nop {
		o.nop = false
		buf = wire.AppendNOP(buf)
	}
	first := headroom
	if rdy := o.rdy.wanted(); rdy != o.rdy.inForce && o.mayWriteRDY(rdy) {
		if rdy < o.rdy.inForce { // nsqd must read the lower limit before the answers free room
			var line [headroom]byte
			l := wire.AppendRDY(line[:0], rdy)
			first -= len(l)
			copy(buf[first:], l)
		} else {
			buf = wire.AppendRDY(buf, rdy)
		}
		o.rdy.set(rdy, w.now)
	} else {
		o.rdy.window.Open(w.now, o.rdy.room(o.rdy.inForce)) // answers make room, too
	}
	if !o.cls && !o.half {
		c.armNudge(w.now)
	}
	o.closing = o.cls
	if w.yielded = o.rdy.yielded(); w.yielded {
		o.rdy.yielding = false
	}
	if o.half {
		o.dead.Store(true)
	}
	if cap(o.spare) > largestKept {
		o.spare = newBuffer()
	}
	o.buf, o.spare = o.spare[:headroom], buf
	w.bytes = buf[first:]
	o.burst = len(w.bytes) >= burst
	o.largest = max(o.largest, len(w.bytes))
	if len(w.bytes) > 0 {
		o.stats.writes++
		o.stats.bytesWritten += uint64(len(w.bytes))
	}
	return w
}

// newBuffer returns a buffer without commands.
func newBuffer() []byte { return make([]byte, headroom, 256) }

// shrink replaces buffers that are large for what was written since the last call. The caller holds
// o.mu. spare may be in use by a write: that one keeps it.
func (o *outbox) shrink() {
	most := max(smallBuffer, 4*o.largest)
	o.largest = 0
	if cap(o.spare) > most {
		o.spare = newBuffer()
	}
	if cap(o.buf) > most && len(o.buf) == headroom {
		o.buf = newBuffer()
	}
	if len(o.expiring) == 0 {
		o.expiring = nil
	}
}

// mayWriteRDY reports whether RDY n may be written: none after CLS. Together with CLS a lowered
// quota is still sent; otherwise nsqd would send requeued messages again.
func (o *outbox) mayWriteRDY(n int) bool {
	if o.cls {
		return !o.closing && !o.half && o.rdy.yielding && n < o.rdy.inForce
	}
	return !o.half
}

// dropLate removes expired commands, which exist only after a long write. The caller holds o.mu.
func (o *outbox) dropLate(now time.Duration) {
	var untouched []*handler.Delivery // messages that rely on a dropped TOUCH
	cut := 0
	for _, t := range o.expiring {
		if t.by > now && !slices.Contains(untouched, t.m) {
			continue
		}
		o.buf = append(o.buf[:t.start-cut], o.buf[t.end-cut:]...)
		cut += t.end - t.start
		*t.counter--
		if t.counter != &o.stats.touched {
			o.stats.expired++
			o.rdy.drift.Doubt(now)
			continue
		}
		untouched = append(untouched, t.m)
		if t.m.Claim() { // nobody may answer by a deadline that nsqd does not know
			o.rdy.inFlight--
			o.rdy.drift.Doubt(now)
			o.stats.expired++
		}
	}
	clear(o.expiring)
	o.expiring = o.expiring[:0]
}

// mostWritten is the size in bytes of the largest single write. Larger publishes take several, each with
// its own deadline: on a slow link all of them together may take longer.
const mostWritten = 256 << 10

// extendWrite gives a write, or the half-close, between 1 and 1.25 heartbeat intervals: setting the
// deadline each time would cost as much as a message.
func (c *Conn) extendWrite(now time.Duration) error {
	heartbeat := c.cfg.HeartbeatInterval
	if c.deadline >= now+heartbeat {
		return nil
	}
	c.deadline = now + heartbeat + heartbeat/4
	return c.tr.nc.SetWriteDeadline(c.terms.Start.Add(c.deadline))
}

// write writes w. It returns false if the connection ends.
func (c *Conn) write(w *work) bool {
	if err := c.extendWrite(w.now); err != nil {
		c.Abort(err)
		return false
	}
	for rest := w.bytes; len(rest) > 0; {
		n := min(len(rest), mostWritten)
		if _, err := c.tr.w.Write(rest[:n]); err != nil {
			c.writeFailed(err)
			return false
		}
		if rest = rest[n:]; len(rest) > 0 {
			if w.publishes {
				c.progressed()
			}
			if err := c.extendWrite(c.terms.Now()); err != nil {
				c.Abort(err)
				return false
			}
		}
	}
	if w.yielded {
		c.reader.sink.Yielded(c)
	}
	return true
}

func (c *Conn) writeLoop() {
	var w work
	for {
		w = c.take(w.publishes)
		if w.ended {
			return
		}
		if !c.write(&w) {
			return
		}
		if w.last {
			break
		}
	}
	if c.out.lastWritten() {
		if err := c.tr.closeWrite(); err != nil {
			c.writeFailed(err)
		}
	}
}

// writeFailed gives the read loop time to find the reason if nsqd closed the connection.
func (c *Conn) writeFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.Abort(err)
		return
	}
	c.out.refuse()
	c.endWithin(closeTimeout, err)
}
