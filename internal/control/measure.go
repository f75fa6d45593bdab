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
	c.service.Add(s.BusyTime-c.busyTime, s.Results-c.results)
	c.busyTime = s.BusyTime
	c.pool.Tick(c.batchSize())
	stuck, overdue := c.countStuck(s.Running)

	c.mu.Lock()
	c.stuck, c.overdue = stuck, overdue
	for conn, n := range c.flood {
		if c.flood[conn] = n / 2; n < 2 {
			delete(c.flood, conn)
		}
	}
	c.tickBreaker()
	c.mu.Unlock()

	received := c.countReceived()
	moved := s.Results != c.results
	c.results = s.Results
	s = c.pool.Snapshot()
	if len(s.Running) == 0 && s.Waiting == 0 && !moved && received == c.received && c.settled() {
		c.quiet++
	} else {
		c.quiet = 0
	}
	c.received = received
	c.unstall(s, moved)
}

// countStuck counts workers whose message is past its time or whose connection is lost (stuck), and
// the former alone (overdue). It tells connections how many of their messages nsqd has given to
// others.
func (c *Control) countStuck(running []*handler.Delivery) (stuck, overdue int) {
	var late map[*conn.Conn]int
	var beyond []*handler.Delivery
	for _, m := range running {
		lost, expired := pool.Lost(m), !m.Answerable()
		if lost || expired {
			stuck++
		}
		if !expired {
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
	c.outliving.tell(beyond, c.cfg.Post)
	for _, conn := range c.cfg.Conns() {
		conn.SetTimedOut(late[conn])
	}
	return stuck, len(beyond)
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

// quotas returns what [flow.Quotas] needs of the loads. The caller holds mu.
func (c *Control) quotas(conns []*conn.Conn, loads []conn.Load) []flow.Quota {
	quotas := make([]flow.Quota, len(conns))
	for i, l := range loads {
		quotas[i] = flow.Quota{Set: l.Quota, Held: l.Held, Max: conns[i].MaxRDY(), Demand: 2 * l.Peak, Probe: doubtful(l)}
		if l.Starved {
			quotas[i].Demand = c.total
		}
	}
	return quotas
}
