package control

import (
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/pool"
)

// measure looks at the pool and the connections.
func (c *Control) measure() {
	s := c.pool.Snapshot()
	runs := max(s.Runs, c.runs) // a parked message is counted again an instant after it is settled
	c.service.Add(s.BusyTime-c.busyTime, c.telling(s, runs-c.runs))
	c.runs, c.finished, c.busyTime = runs, s.Finished, s.BusyTime
	c.pool.Tick(c.batchSize())
	stuck, stuckMessages, overdue := c.countStuck(s)

	c.mu.Lock()
	c.stuck, c.stuckMessages, c.overdue = stuck, stuckMessages, overdue
	for conn, n := range c.flood {
		if c.flood[conn] = n / 2; n < 2 {
			delete(c.flood, conn)
		}
	}
	c.mu.Unlock()

	received := c.countReceived()
	moved := s.Results != c.results
	c.results = s.Results
	s = c.pool.Snapshot()
	c.busy = len(s.Running)+len(s.Parked)+s.Waiting > 0
	c.received = received
	c.unstall(s, moved)
}

// telling returns how many of the runs of a tick tell how long handlers take. While what they need is away
// they may all fail at once: after that a burst would be requested that waits for them.
func (c *Control) telling(s pool.Snapshot, runs uint64) uint64 {
	if s.Finished == c.finished && len(s.Parked) == 0 {
		return 0
	}
	return runs
}

// countStuck counts workers with a message that is past its time or whose connection is lost (stuck),
// their messages, and workers with a message past its time (overdue). It tells connections how many
// of their messages nsqd has given to others.
func (c *Control) countStuck(s pool.Snapshot) (stuck, messages, overdue int) {
	var late map[*conn.Conn]int
	var beyond []*handler.Delivery
	for msgs := range s.Handled() {
		anyLost, before := false, len(beyond)
		for _, m := range msgs {
			lost := pool.Lost(m)
			anyLost = anyLost || lost
			if m.Answerable() {
				continue
			}
			beyond = append(beyond, m)
			if lost {
				continue
			}
			if late == nil {
				late = make(map[*conn.Conn]int)
			}
			late[m.Source().(*conn.Conn)]++
		}
		anyLate := len(beyond) > before
		if anyLate {
			overdue++
		}
		if anyLost || anyLate {
			stuck++
			messages += len(msgs)
		}
	}
	c.outliving.tell(beyond, c.cfg.Post)
	for _, conn := range c.cfg.Conns() {
		conn.SetTimedOut(late[conn])
	}
	return stuck, messages, overdue
}

// batchSize is how many messages a worker does in a fraction of a millisecond.
func (c *Control) batchSize() int {
	mean, ok := c.service.Time()
	if !ok {
		return 1
	}
	return int(200 * time.Microsecond / max(mean, 1))
}

// look returns the loads of connections, and notes how large messages are. Between ticks the
// previous period still counts, since the present one has just begun. The caller holds mu.
func (c *Control) look(tick bool, conns []*conn.Conn) []conn.Load {
	if tick {
		c.size.Fade()
	}
	loads := make([]conn.Load, len(conns))
	seen := make(map[*conn.Conn]conn.Load, len(conns))
	for i, conn := range conns {
		l, before := conn.Load(tick), c.loads[conn]
		c.size.Add(l.Received-before.Received, l.Bytes-before.Bytes)
		if !tick {
			l.Peak, l.Starved = max(l.Peak, before.Peak), l.Starved || before.Starved
		}
		loads[i], seen[conn] = l, l
	}
	c.loads = seen
	return loads
}

// quotas returns what [flow.Quotas] needs of the loads. Connections that are passed get nothing. The
// caller holds mu.
func (c *Control) quotas(conns []*conn.Conn, loads []conn.Load, passed map[int]bool) []flow.Quota {
	quotas := make([]flow.Quota, len(conns))
	for i, l := range loads {
		quotas[i] = flow.Quota{Set: l.Quota, Held: l.Held, Max: conns[i].MaxRDY(), Demand: 2 * l.Peak, Probe: doubtful(l)}
		if l.Starved {
			quotas[i].Demand = c.total
		}
		if passed[i] {
			quotas[i].Max = 0
		}
	}
	return quotas
}
