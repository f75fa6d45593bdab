package control

import (
	"math"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// defaultMaxRDY is nsqd's default --max-rdy-count.
const defaultMaxRDY = 2500

// inTransit is how long a higher capacity holds after MaxInFlight was lowered: what nsqd sent before
// may arrive as late as a connection may be silent.
const inTransit = time.Minute

// setCapacity sets how much may wait here. RDY does not bound it, since nsqd does not count a message
// after its timeout, quotas move, and bodies may be larger than earlier ones. full is how many messages may be in flight if all handlers are free. The
// caller holds mu.
func (c *Control) setCapacity(conns []*conn.Conn, full int) {
	most := c.fixed
	if most == 0 {
		most = max(defaultMaxRDY, c.most(conns))
	}
	n, now := 2*most+len(conns), time.Now()
	switch {
	case n >= c.capacity:
		c.capacity, c.lowered = n, time.Time{}
	case c.lowered.IsZero(): // the need has just fallen
		c.lowered = now
	case now.Sub(c.lowered) > inTransit:
		c.capacity, c.lowered = n, time.Time{}
	}
	c.pool.SetLimits(c.capacity, 2*min(c.cfg.MaxInFlightBytes, math.MaxInt/2), min(full, maxRDY(conns))+c.stuckMessages)
}

// maxRDY is how many messages nsqds let the connections have in flight.
func maxRDY(conns []*conn.Conn) (sum int) {
	for _, conn := range conns {
		sum += conn.MaxRDY()
	}
	return sum
}

// most is how many messages may be in flight if that is automatic: what one nsqd allows, or what fills a
// slot if several allow that together.
func (c *Control) most(conns []*conn.Conn) int {
	most := 0
	for _, conn := range conns {
		most = max(most, conn.MaxRDY())
	}
	return max(most, min(c.cfg.SlotSize, maxRDY(conns)))
}

// Overflow gives back messages for which the pool has no room, and ends their connection if it goes
// on regardless. nsqd may send more than RDY after message timeouts, or from several connections at
// a time.
func (c *Control) Overflow(from *conn.Conn, msgs []handler.Delivery, why error) {
	c.mu.Lock()
	from.SetQuota(0)
	c.flood[from] += len(msgs)
	most := c.capacity
	if from.Load(false).Stale { // a probe may have brought them
		most += from.MaxRDY()
	}
	tooMuch := c.flood[from] > most
	if tooMuch {
		delete(c.flood, from)
	}
	c.mu.Unlock()
	if tooMuch {
		from.Abort(&conn.Error{Addr: from.Addr(), Phase: conn.PhaseStream, Err: why})
	}
	for i := range msgs {
		c.pool.Requeue(&msgs[i], handler.Requeue, time.Second)
	}
	c.gaveBack(len(msgs), "overflow")
	c.Wake()
}

// Detached forgets a connection that has ended.
func (c *Control) Detached(conn *conn.Conn) {
	c.mu.Lock()
	delete(c.flood, conn)
	delete(c.drifted, conn)
	delete(c.room, conn)
	c.mu.Unlock()
	c.Wake()
}
