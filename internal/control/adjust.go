package control

import (
	"math"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/flow"
)

// adjust shares out what may be in flight.
func (c *Control) adjust(tick bool) {
	conns := c.cfg.Conns()
	c.mu.Lock()
	defer c.mu.Unlock()
	loads := c.look(tick, conns)
	s := c.pool.Snapshot()
	allowed := c.allowed()
	c.total = min(c.limit(conns, loads, s.Idle > 0 && s.Waiting == 0), allowed)
	c.setCapacity(conns)
	c.yielding = false
	if allowed == 0 {
		c.suspend()
		return
	}
	c.pool.Resume()
	if c.stalled || s.OverCapacity {
		c.closeRDY()
		return
	}
	c.takeTurns(tick, loads)
	for i, n := range flow.Quotas(c.total, c.quotas(conns, loads), c.turn) {
		if n != loads[i].Quota {
			conns[i].SetQuota(n)
			loads[i].Quota = n
		}
		c.yielding = c.yielding || loads[i].Held > n
	}
	c.mendDrift(conns, loads)
}

// takeTurns moves on to the next connections if there are more of them than messages may be in
// flight. The caller holds mu.
func (c *Control) takeTurns(tick bool, loads []conn.Load) {
	if !tick || len(loads) <= c.total {
		return
	}
	given := 0
	for _, l := range loads {
		given += min(l.Quota, 1)
	}
	if given >= c.total {
		c.turn = (c.turn + c.total) % len(loads)
	}
}

// allowed is how many messages pause and breaker let be in flight. The caller holds mu.
func (c *Control) allowed() int {
	switch {
	case c.paused:
		return 0
	case c.breaker != nil:
		return c.breaker.Limit(c.now())
	}
	return math.MaxInt
}

// limit is how many messages the consumer could do with in flight now. free is true if workers wait
// and messages do not. The caller holds mu.
func (c *Control) limit(conns []*conn.Conn, loads []conn.Load, free bool) int {
	var rtt time.Duration
	var most int
	for i, l := range loads {
		rtt, most = max(rtt, l.RTT), max(most, conns[i].MaxRDY())
	}
	auto := c.concurrency + c.service.Ahead(c.concurrency, rtt, most)
	if free {
		auto = max(auto, len(conns))
	}
	n := min(auto, most)
	if c.fixed > 0 {
		c.conservative = c.conservative && auto < min(c.fixed, most)
		if c.conservative {
			n = min(n, c.fixed)
		} else {
			n = c.fixed
		}
	}
	n = c.size.Fit(c.cfg.MaxInFlightBytes, n)
	if c.stalled {
		n = min(n, c.concurrency)
	}
	return max(n-c.timedOut, 0)
}
