package control

import (
	"math"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/internal/pool"
)

// adjust shares out what may be in flight, and returns when to call it again: 0 if nothing changes
// with time alone before the next tick.
func (c *Control) adjust(tick bool) (next time.Duration) {
	conns := c.cfg.Conns()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.openTurns.Store(c.turns.Open()) }()
	loads := c.look(tick, conns)
	c.noteRoom(conns, loads)
	s := c.pool.Snapshot()
	allowed, holds := c.obey()
	c.holds = holds
	restrained := c.restraint.holds(time.Now())
	full := min(c.limit(conns, loads, restrained, len(s.Parked)), allowed)
	c.total = min(full, c.slotRoom(s, conns, restrained))
	scarce := c.scarce(conns)
	var passed map[int]bool
	if !scarce {
		var kept int
		if passed, kept = c.passOver(loads); kept > 0 {
			full = c.total - kept
		}
	}
	c.setCapacity(conns, full)
	if tick {
		c.ticks++
		c.tellSmall(conns)
	}
	c.yielding, c.nextTick = len(passed) > 0, false // those that are passed get something at the next tick
	if allowed == 0 {
		c.turns.Reset()
		return 0
	}
	if c.stalled || s.OverCapacity {
		c.turns.Reset()
		c.closeRDY()
		return 0
	}
	var quotas []int
	if scarce {
		quotas, next = c.turns.Step(time.Since(c.start), turnConns(conns, loads, c.mayProbe()), flow.TurnLimits{
			Slots: c.total, Open: (!restrained || len(conns) <= c.total) && c.mayOpen(len(conns), allowed, s), Patience: patience(conns),
		})
	} else {
		c.turns.Reset()
		quotas = flow.Quotas(c.total, c.quotas(conns, loads, passed))
	}
	c.nextTick = scarce && next == 0 && !c.turns.Open()
	if c.turns.Open() {
		c.total = len(conns)
	}
	for i, n := range quotas {
		if n != loads[i].Quota {
			conns[i].SetQuota(n)
			loads[i].Quota = n
		}
		c.yielding = c.yielding || !scarce && loads[i].Held > n // next is the time to look again at turns
	}
	c.mendDrift(conns, loads)
	return next
}

// scarce reports whether connections must take turns: there are more than messages may be in flight,
// or silent connections with a quota of one each would keep workers idle. For batches that would be
// worse: a turn grows one message at a time, and a batch does not wait for it. The caller holds mu.
func (c *Control) scarce(conns []*conn.Conn) bool {
	if len(conns) > c.total {
		return true
	}
	_, known := c.service.Time()
	return known && len(conns) > 1 && c.cfg.SlotSize <= 1 && (c.fixed == 0 || c.fixed > c.concurrency) && !c.cfg.FixedRDY &&
		c.total < c.workers()+len(conns)-1
}

// workers is how many workers hold neither a message that is beyond its time nor one of a lost
// connection. The caller holds mu.
func (c *Control) workers() int { return max(c.concurrency-c.stuck, 0) }

// mayOpen reports whether each of more connections than messages may be in flight may have one: all
// is idle, so the first message closes the others before a second one is likely to arrive. A fixed
// MaxInFlight is strict. The caller holds mu.
func (c *Control) mayOpen(conns, allowed int, s pool.Snapshot) bool {
	return (c.fixed == 0 || conns <= c.fixed) && allowed == math.MaxInt && c.stuck == 0 && c.total > 0 &&
		len(s.Running)+len(s.Parked)+s.Waiting == 0 && c.size.Fit(c.cfg.MaxInFlightBytes, conns) == conns
}

// limit is how many messages the consumer could do with in flight now: it never asks for one that it
// cannot start. Messages whose handlers answer later need no worker any more. The caller holds mu.
func (c *Control) limit(conns []*conn.Conn, loads []conn.Load, restrained bool, parked int) int {
	var rtt time.Duration
	for _, l := range loads {
		rtt = max(rtt, l.RTT)
	}
	most := c.most(conns)
	workers := c.workers()
	capacity, auto := workers, workers
	if !restrained {
		capacity = c.service.Capacity(workers, patience(conns))
		auto += c.service.Ahead(workers, rtt, most)
	}
	capacity, auto = c.messages(capacity), c.messages(auto)
	auto = max(auto, c.messages(workers)+len(conns)-1) // silent ones take nothing from the workers if capacity allows that
	capacity, auto = capacity+parked, min(auto+parked, most)
	n := auto
	if c.fixed > 0 {
		n = c.fixed
	}
	n = c.fit(n)
	if c.cfg.FixedRDY && workers > 0 && !restrained {
		return max(n-c.stuck, 0)
	}
	return min(n, capacity)
}

// fit returns how many of n messages fit into the limit of bytes. It tells once if those are fewer
// than the user asked for. The caller holds mu.
func (c *Control) fit(n int) int {
	fits, wanted := c.size.Fit(c.cfg.MaxInFlightBytes, n), max(c.fixed, c.cfg.SlotSize)
	if fits < min(n, wanted) && !c.cutTold {
		c.cutTold = true
		c.cfg.Post(notify.Event{Kind: notify.BytesCut, Found: fits, Results: wanted})
	}
	return fits
}

// patience is how long a message may wait for a worker before it is given back.
func patience(conns []*conn.Conn) time.Duration {
	p := time.Second
	for _, conn := range conns {
		if timeout := conn.Terms().MessageTimeout; timeout > 0 {
			p = min(p, timeout/4)
		}
	}
	return p
}

func turnConns(conns []*conn.Conn, loads []conn.Load, mayProbe bool) []flow.TurnConn[*conn.Conn] {
	turns := make([]flow.TurnConn[*conn.Conn], len(conns))
	for i, l := range loads {
		turns[i] = flow.TurnConn[*conn.Conn]{
			Key: conns[i], Received: l.Received, Held: l.Held, InFlight: l.InFlight, RTT: l.RTT,
			Probe: l.Probing || mayProbe && l.ProbeIn <= 0,
		}
	}
	return turns
}
