package control

import (
	"slices"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

// nsqd's count of what a connection has in flight may be too high, and then it withholds messages: see
// [flow.Drift]. A connection allows for what it knows of. This file looks for what it does not know
// of, and replaces connections whose count is wrong once they are quiet.

const (
	// soon is how long before a probe the connection gets what other connections do not demand.
	soon = 3 * flow.Tick

	// roomFirst is how long nsqd must have had room, after it had none on purpose, before a probe.
	roomFirst = 2 * time.Second

	// transit is how long, beyond two round trips, nsqd may take to send a message to a connection that
	// has got room. Before that a probe would ask for a second one.
	transit = 3 * time.Millisecond
)

// doubtful reports whether a connection is to be probed soon, is probed, or is to be replaced.
func doubtful(l conn.Load) bool {
	return l.Quota > 0 && (l.Probing || l.Stale || l.ProbeIn <= soon && l.InFlight < l.Quota)
}

// noteRoom notes since when each connection has had room. The caller holds mu.
func (c *Control) noteRoom(conns []*conn.Conn, loads []conn.Load) {
	now := time.Now()
	for i, l := range loads {
		if _, ok := c.room[conns[i]]; !ok || l.InFlight >= l.Quota {
			c.room[conns[i]] = now
		}
	}
}

// mayProbe reports whether nsqd had room for long enough after it had none on purpose. The caller
// holds mu.
func (c *Control) mayProbe() bool { return time.Since(c.closedAt) >= roomFirst }

// mendDrift probes and replaces connections, and tells of each once. The caller holds mu.
func (c *Control) mendDrift(conns []*conn.Conn, loads []conn.Load) {
	probing := c.fixed > 0 && slices.ContainsFunc(loads, func(l conn.Load) bool { return l.Probing }) // one at a time
	for i, l := range loads {
		if l.Drifted && !c.drifted[conns[i]] {
			c.drifted[conns[i]] = true
			c.postDrift(conns[i], false)
		}
		switch {
		case l.Quota == 0: // nsqd is to send nothing
		case l.Stale:
			if c.cfg.Renew != nil && c.cfg.Renew(conns[i]) {
				c.postDrift(conns[i], true)
			}
		case l.ProbeIn <= 0 && !l.Probing && !probing && l.InFlight < l.Quota && c.mayProbe() &&
			time.Since(c.room[conns[i]]) >= transit+2*l.RTT:
			conns[i].Probe()
			probing = c.fixed > 0
		}
	}
}

func (c *Control) postDrift(from *conn.Conn, renewed bool) {
	allowance, cause := from.Drift()
	c.cfg.Post(notify.Event{
		Kind: notify.Drift, ConnEvent: observe.ConnEvent{NSQD: from.Addr(), Err: cause}, Allowance: allowance, Renewed: renewed,
	})
}

// nextDoubt returns how long Run may sleep before a connection is to be probed. It returns false if
// there is something to do now.
func (c *Control) nextDoubt() (wait time.Duration, ok bool) {
	wait = time.Hour
	for _, conn := range c.cfg.Conns() {
		l := conn.Load(false)
		switch {
		case l.Quota == 0:
		case doubtful(l) || l.Allowance > 0:
			return 0, false
		default:
			wait = min(wait, l.ProbeIn-soon)
		}
	}
	return wait, true
}
