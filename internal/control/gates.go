package control

import (
	"math"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// Gate says how many messages may be in flight, whatever the handlers have room for: a pause, a
// breaker. It calls [Control.Changed] after a change that time alone does not bring, with no lock held.
type Gate interface {
	// Room returns how many messages may be in flight, and for how long that holds by time alone; 0: for
	// ever. With no room the gate is shut. Room is called with the lock of Control held.
	Room() (n int, holds time.Duration)
}

// leastRoom returns the least room of all gates, and for how long that holds by time alone; 0: for ever.
// Behind a gate that is shut none is asked. The caller holds mu.
func (c *Control) leastRoom() (least int, holds time.Duration) {
	least = math.MaxInt
	for _, g := range c.cfg.Gates {
		n, lasts := g.Room()
		if n == 0 {
			return 0, lasts
		}
		least = min(least, n)
		if lasts > 0 && (holds == 0 || lasts < holds) {
			holds = lasts
		}
	}
	return least, holds
}

// Changed tells that a gate has another room. If it is shut, no handler starts and RDY is closed when
// Changed returns.
func (c *Control) Changed() {
	c.mu.Lock()
	if c.running { // else nothing waits, or the drain gives it back
		c.obey()
	}
	c.mu.Unlock()
	c.Wake()
}

// obey is leastRoom, and acts on a gate that is shut: it closes RDY, and gives back all that waits. So what
// a gate holds waits for no slot, and never counts as stalled. The caller holds mu.
func (c *Control) obey() (least int, holds time.Duration) {
	least, holds = c.leastRoom()
	switch shut := least == 0; {
	case shut && !c.shut:
		c.shut = true
		c.closeRDY()
		c.gaveBack(c.pool.Suspend(holds), "suspended")
	case !shut && c.shut:
		c.shut, c.closedAt = false, time.Now()
		c.pool.Resume()
	}
	return least, holds
}

// Refuse gives back messages that arrived while a gate was shut: they were on their way.
func (c *Control) Refuse(msgs []handler.Delivery) {
	c.mu.Lock()
	delay := time.Duration(0)
	if n, holds := c.leastRoom(); n == 0 {
		delay = holds
	}
	c.mu.Unlock()
	for i := range msgs {
		c.pool.Requeue(&msgs[i], handler.Requeue, delay)
	}
	c.gaveBack(len(msgs), "suspended")
}
