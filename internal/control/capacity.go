package control

import (
	"cmp"
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
// after its timeout, quotas move, and bodies may be larger than earlier ones. The caller holds mu.
func (c *Control) setCapacity(conns []*conn.Conn) {
	most := cmp.Or(c.fixed, defaultMaxRDY)
	for _, conn := range conns {
		if c.fixed == 0 {
			most = max(most, conn.MaxRDY())
		}
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
	c.pool.SetLimits(c.capacity, 2*min(c.cfg.MaxInFlightBytes, math.MaxInt/2), c.total+c.stuckMessages)
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
	c.Arrived()
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
