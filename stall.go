package nsqx

import (
	"cmp"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// Messages that wait here while no worker is free could be with another
// consumer. So they are given back; but RDY must be closed first, or nsqd would
// send them here again, in a loop. conn writes a lower RDY before the answers
// that are queued after it was asked for.

// shut lets nsqd send nothing more for now. The caller holds mu.
func (c *control) shut() {
	for _, conn := range c.e.connections() {
		conn.SetQuota(0)
	}
}

// patience is how long a message may wait for a worker while none is free.
func patience(m *handler.Delivery) time.Duration {
	return min(time.Second, m.Source().Terms().MessageTimeout/4)
}

// unstall gives back what has waited for too long: first all but one message a
// worker and what they do until RDY is open again, then, if still no worker has
// come, those as well. moved says whether one has come since it was called last:
// then RDY opens again.
func (c *control) unstall(moved bool) {
	q := c.e.queue
	c.mu.Lock()
	defer c.mu.Unlock()
	oldest := q.oldest()
	if moved || q.idle() > 0 {
		c.stalled = false
	}
	if oldest == nil || q.idle() > 0 {
		return
	}
	waited, limit := time.Since(oldest.Received()), patience(oldest)
	if limit <= 0 || waited < limit {
		return
	}
	keep := 0
	if waited < limit+limit/2 {
		keep = c.concurrency + c.service.Ahead(c.concurrency, 0, q.waiting())
	}
	if q.waiting() <= keep {
		return
	}
	c.stalled, c.careful = true, true
	c.shut()
	for _, m := range q.trim(keep) {
		c.e.workers.giveBack(m, handler.Requeue, 0)
	}
}

// hold sees to it that no handler is started, and gives back all that waits for
// one. The caller holds mu.
func (c *control) hold() {
	c.shut()
	for _, m := range c.e.queue.hold() {
		c.e.workers.giveBack(m, handler.Requeue, c.delay())
	}
}

// refuse gives back messages that have come although no handler is to be
// started: they were on their way.
func (c *control) refuse(msgs []handler.Delivery) {
	c.mu.Lock()
	delay := c.delay()
	c.mu.Unlock()
	for i := range msgs {
		c.e.workers.giveBack(&msgs[i], handler.Requeue, delay)
	}
}

// delay is that of messages which are given back because no handler is to be
// started. The caller holds mu.
func (c *control) delay() time.Duration {
	if c.breaker == nil || c.paused {
		return 0
	}
	return c.breaker.OpenFor(c.now())
}

// usualMaxRDY is the max-rdy-count of an nsqd that was not told another.
const usualMaxRDY = 2500

// onTheirWay is how long a higher bound holds after MaxInFlight was lowered: what
// nsqd has sent before may come as late as a connection may be silent.
const onTheirWay = time.Minute

// setBound sets how much waits here at most: RDY is no bound for that, since nsqd
// counts a message no more once its timeout is over, shares move, and bodies may be
// larger than those before. The caller holds mu.
func (c *control) setBound(conns []*conn.Conn) {
	most := cmp.Or(c.fixed, usualMaxRDY)
	for _, conn := range conns {
		if c.fixed == 0 {
			most = max(most, conn.MaxRDY())
		}
	}
	if n, now := 2*most+len(conns), time.Now(); n >= c.bound {
		c.bound, c.bounded = n, now
	} else if now.Sub(c.bounded) > onTheirWay {
		c.bound = n
	}
	c.e.queue.setLimit(c.bound, 2*c.e.cfg.maxInFlightBytes)
}

// overflow gives back messages of a connection that the queue has no room for,
// and ends the connection if it goes on regardless. nsqd may send more than RDY
// after message timeouts, or from several connections at a time.
func (c *control) overflow(from *conn.Conn, msgs []handler.Delivery, why error) {
	c.mu.Lock()
	from.SetQuota(0)
	c.flood[from] += len(msgs)
	tooMuch := c.flood[from] > c.bound
	if tooMuch {
		delete(c.flood, from)
	}
	c.mu.Unlock()
	if tooMuch {
		from.Abort(&conn.Error{Addr: from.Addr(), Phase: conn.PhaseStream, Err: why})
	}
	for i := range msgs {
		c.e.workers.giveBack(&msgs[i], handler.Requeue, time.Second)
	}
	c.arrived()
}
