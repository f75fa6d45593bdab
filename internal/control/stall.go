package control

import (
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/internal/pool"
)

// Messages that wait here while no worker is free could be with another consumer, so they are given
// back. RDY must be closed first, or nsqd would send them here again, in a loop. conn writes a lower
// RDY before the answers that are queued after it was set.

// closeRDY lets nsqd send nothing more. The caller holds mu.
func (c *Control) closeRDY() {
	c.closedAt = time.Now()
	for _, conn := range c.cfg.Conns() {
		conn.SetQuota(0)
	}
}

// stallTime is how long a message may wait while no worker is free.
func stallTime(m *handler.Delivery) time.Duration {
	return min(time.Second, m.Source().Terms().MessageTimeout/4)
}

// unstall gives back what has waited for too long. After the stall time it keeps one message a
// worker, and what workers do until RDY is open again. After half as long again it keeps nothing.
// moved reports whether a worker has taken a message since the last call: then RDY opens again.
func (c *Control) unstall(s pool.Snapshot, moved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if moved || s.Idle > 0 {
		c.stalled = false
	}
	if s.Oldest == nil || s.Idle > 0 {
		return
	}
	waited, limit := time.Since(s.Oldest.Received()), stallTime(s.Oldest)
	if limit <= 0 || waited < limit {
		return
	}
	keep := 0
	if workers := max(c.concurrency-c.stuck, 0); waited < limit+limit/2 {
		keep = c.messages(workers + c.service.Ahead(workers, 0, s.Waiting))
	}
	if s.Waiting <= keep {
		return
	}
	c.stalled = true
	c.restraint.gaveBack(time.Now())
	c.closeRDY()
	c.gaveBack(c.pool.Shed(keep), "stall")
}

// gaveBack tells of messages that were given back.
func (c *Control) gaveBack(n int, reason string) {
	if n > 0 {
		c.cfg.Post(notify.Event{Kind: notify.GivenBack, Found: n, Reason: reason})
	}
}
