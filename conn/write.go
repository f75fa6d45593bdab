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

// rdyWanted is the RDY that ought to be in force.
func (o *outbox) rdyWanted() int { return min(o.share, o.maxRDY) }

// pending says whether there is anything for the write loop to do.
func (o *outbox) pending() bool {
	return len(o.buf) > headroom || o.nop || o.half || o.dead.Load() || !o.cls && o.rdyWanted() != o.rdy
}

// burst is how many bytes a write must have had, about a dozen answers, for the
// next one to wait until every goroutine that can run has run: they have answers
// to add, and a system call costs as much as handling many messages. A lone FIN
// never waits.
const burst = 256

// take waits for work and returns the bytes to write. more is false if they are
// the last ones.
func (o *outbox) take(now func() time.Duration) (p []byte, more bool) {
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
		return nil, false
	}
	if len(o.timed) > 0 {
		o.dropLate(now())
	}
	buf := o.buf
	if o.nop {
		o.nop = false
		buf = wire.AppendNOP(buf)
	}
	first := headroom
	if rdy := o.rdyWanted(); !o.cls && !o.half && rdy != o.rdy {
		if rdy < o.rdy { // nsqd is to see the lower limit before the room that answers make
			var line [headroom]byte
			l := wire.AppendRDY(line[:0], rdy)
			first -= len(l)
			copy(buf[first:], l)
		} else {
			buf = wire.AppendRDY(buf, rdy)
		}
		o.rdy = rdy
	}
	if o.half {
		o.dead.Store(true)
	}
	o.buf, o.spare = o.spare[:headroom], buf
	n := len(buf) - first
	o.burst = n >= burst
	if n > 0 {
		o.stats.writes++
		o.stats.bytesWritten += uint64(n)
	}
	return buf[first:], !o.half
}

// dropLate cuts the timed commands that are void by now out of the buffer. It
// has something to do only when a write was held up for long.
func (o *outbox) dropLate(now time.Duration) {
	var untouched []*handler.Message // have counted on a TOUCH that is not sent
	cut := 0
	for _, t := range o.timed {
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
			o.inFlight--
			o.stats.expired++
		}
	}
	clear(o.timed)
	o.timed = o.timed[:0]
}

// writeLoop sends what is queued: all of it with one write, as soon as there is
// any. It ends with the connection, or after the half-close.
func (c *Conn) writeLoop() {
	heartbeat := c.cfg.HeartbeatInterval
	var deadline time.Duration // in force, since terms.Start
	for {
		p, more := c.out.take(c.terms.Now)
		// Moving the deadline costs as much as a message: each write, and the
		// half-close, which may write too, has at least a heartbeat interval, and
		// up to a quarter more.
		if now := c.terms.Now(); deadline < now+heartbeat {
			deadline = now + heartbeat + heartbeat/4
			if err := c.tr.nc.SetWriteDeadline(c.terms.Start.Add(deadline)); err != nil {
				c.Abort(err)
				return
			}
		}
		if len(p) > 0 {
			if _, err := c.tr.w.Write(p); err != nil {
				c.writeFailed(err)
				return
			}
		}
		if !more {
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
