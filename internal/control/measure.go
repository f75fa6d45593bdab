package control

import (
	"cmp"
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
	c.fade(runs - c.runs)
	c.service.Add(s.BusyTime-c.busyTime, c.telling(s, runs-c.runs))
	c.runs, c.busyTime = runs, s.BusyTime
	received := c.countReceived()
	c.pool.Tick(c.mayRest(s, received))
	stuck, stuckMessages, overdue := c.countStuck(s)

	c.mu.Lock()
	c.stuck, c.stuckMessages, c.overdue = stuck, stuckMessages, overdue
	for conn, n := range c.flood {
		if c.flood[conn] = n / 2; n < 2 {
			delete(c.flood, conn)
		}
	}
	c.mu.Unlock()

	moved := s.Results != c.results
	c.results = s.Results
	s = c.pool.Snapshot()
	c.busy = inHand(s)
	c.received = received
	c.unstall(s, moved)
}

// inHand reports whether anything is in hand that a look must follow.
func inHand(s pool.Snapshot) bool { return len(s.Running)+len(s.Parked)+s.Waiting+s.Reading > 0 }

// mayRest reports whether there was nothing to do for a while: once, until there is again. received is
// the present count of messages.
func (c *Control) mayRest(s pool.Snapshot, received uint64) bool {
	now := time.Now()
	if received != c.received || inHand(s) {
		c.active, c.rests = now, false
	}
	if c.rests || now.Sub(c.active) < restAfter {
		return false
	}
	c.rests = true
	return true
}

// fade lets the service time fade after a lull as if Run had looked at each tick, or after each of n runs
// of handlers if those are fewer.
func (c *Control) fade(n uint64) {
	now := time.Now()
	missed := int(min(now.Sub(c.measured), lull)/flow.Tick) - 1
	if n > 0 {
		missed = int(min(uint64(max(missed, 0)), n-1))
	}
	for range missed {
		c.service.Fade()
	}
	c.measured = now
}

// telling returns how many of the runs of a tick tell how long handlers take: none if all of its messages
// failed. While what handlers need is away they may fail at once: after that a burst would be requested
// that waits for them.
func (c *Control) telling(s pool.Snapshot, runs uint64) uint64 {
	before := c.failed
	c.failed = c.cfg.Failed()
	if c.failed-before >= s.Results-c.results && len(s.Parked) == 0 {
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

// look returns the loads of connections, and notes how large messages are. Between ticks the
// previous period still counts, since the present one has just begun. The caller holds mu.
func (c *Control) look(tick bool, conns []*conn.Conn) []conn.Load {
	if tick {
		c.size.Fade()
	}
	loads := make([]conn.Load, len(conns))
	seen := make(map[*conn.Conn]*conn.Load, len(conns)) // a map of Loads would take eight at least
	var none conn.Load
	for i, conn := range conns {
		l, before := conn.Load(tick), cmp.Or(c.loads[conn], &none)
		c.size.Add(l.Received-before.Received, l.Bytes-before.Bytes)
		if !tick {
			l.Peak, l.Starved = max(l.Peak, before.Peak), l.Starved || before.Starved
		}
		loads[i], seen[conn] = l, &loads[i]
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
