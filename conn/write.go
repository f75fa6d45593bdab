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

// pending says whether there is anything for the write loop to do.
func (o *outbox) pending() bool {
	return len(o.buf) > headroom || o.publishesDue() || o.sharded || o.nop || o.half || o.dead.Load() || o.rdy.yielded() || !o.cls && o.rdy.urgent()
}

// burst is how many bytes a write must have had, about a dozen answers, for the
// next one to wait until every goroutine that can run has run: they have answers
// to add, and a system call costs as much as handling many messages. A lone FIN
// never waits.
const burst = 256

// largestKept is the size of the largest buffer that is used again.
const largestKept = 1 << 20

// work is what the write loop has to do.
type work struct {
	bytes   []byte
	now     time.Duration
	last    bool // close the writing half afterwards
	ended   bool // the connection is dead
	yielded bool // nsqd keeps to the share when it has read this
}

// take waits for work.
func (c *Conn) take() work {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
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
	w := work{now: c.terms.Now(), last: o.half}
	if len(o.expiring) > 0 {
		o.dropLate(w.now)
	}
	if o.sharded || o.half {
		o.flushShards(o.half)
	}
	if o.publishesDue() {
		o.encodePublishes(w.now)
		c.watchPublishes(w.now)
	}
	buf := o.buf
	if o.nop {
		o.nop = false
		buf = wire.AppendNOP(buf)
	}
	first := headroom
	if rdy := o.rdy.wanted(); rdy != o.rdy.inForce && o.mayWriteRDY(rdy) {
		if rdy < o.rdy.inForce { // nsqd is to see the lower limit before the room that answers make
			var line [headroom]byte
			l := wire.AppendRDY(line[:0], rdy)
			first -= len(l)
			copy(buf[first:], l)
		} else {
			buf = wire.AppendRDY(buf, rdy)
		}
		o.rdy.set(rdy, w.now)
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
		o.spare = make([]byte, headroom, 256)
	}
	o.buf, o.spare = o.spare[:headroom], buf
	w.bytes = buf[first:]
	o.burst = len(w.bytes) >= burst
	if len(w.bytes) > 0 {
		o.stats.writes++
		o.stats.bytesWritten += uint64(len(w.bytes))
	}
	return w
}

// mayWriteRDY says whether an RDY may be written: none after CLS. In the write of the CLS, before it and before the answers, a
// share that was lowered still counts: else nsqd would send again what is given back.
func (o *outbox) mayWriteRDY(n int) bool {
	if o.cls {
		return !o.closing && !o.half && o.rdy.yielding && n < o.rdy.inForce
	}
	return !o.half
}

// dropLate cuts the timed commands that are void by now out of the buffer. It
// has something to do only when a write was held up for long.
func (o *outbox) dropLate(now time.Duration) {
	var untouched []*handler.Message // have counted on a TOUCH that is not sent
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
			continue
		}
		untouched = append(untouched, t.m)
		if t.m.Claim() { // before it is answered by a deadline that nsqd knows nothing of
			o.rdy.inFlight--
			o.stats.expired++
		}
	}
	clear(o.expiring)
	o.expiring = o.expiring[:0]
}

// writeLoop sends what is queued: all of it with one write, as soon as there is
// any. It ends with the connection, or after the half-close.
func (c *Conn) writeLoop(sink Sink) {
	heartbeat := c.cfg.HeartbeatInterval
	var deadline time.Duration // in force, since terms.Start
	for {
		w := c.take()
		if w.ended {
			break
		}
		// Moving the deadline costs as much as a message: each write, and the
		// half-close, which may write too, has at least a heartbeat interval, and
		// up to a quarter more.
		if deadline < w.now+heartbeat {
			deadline = w.now + heartbeat + heartbeat/4
			if err := c.tr.nc.SetWriteDeadline(c.terms.Start.Add(deadline)); err != nil {
				c.Abort(err)
				return
			}
		}
		if len(w.bytes) > 0 {
			if _, err := c.tr.w.Write(w.bytes); err != nil {
				c.writeFailed(err)
				return
			}
		}
		if w.yielded {
			sink.Yielded(c)
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

// writeFailed ends the connection. If nsqd has closed it, the reason may be
// there to be read, so the read loop is left to find that end.
func (c *Conn) writeFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.Abort(err)
		return
	}
	c.out.refuse()
	c.endWithin(closeTimeout, err)
}
