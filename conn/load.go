package conn

import (
	"time"

	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/wire"
)

// Load is the state of a connection from which a consumer computes quotas.
type Load struct {
	Quota int // as set by SetQuota
	// Held is the largest number of messages that nsqd may be using: the quota, RDY, the messages
	// in flight, or an earlier RDY that may still be on its way.
	Held     int
	InFlight int           // received, not answered, and not timed out
	Peak     int           // most in flight since the last reset
	Starved  bool          // the whole quota was in flight since the last reset
	RTT      time.Duration // smallest recent round trip; 0 if too short to measure

	Received uint64 // messages
	Bytes    uint64 // of their bodies

	// Allowance is that of [Stats]. Drifted is set once nsqd was found to count too many messages in
	// flight: see [Conn.Drift]. Stale is set if the connection should be replaced for that, now: it is
	// quiet, or the allowance is not known.
	Allowance      int
	Drifted, Stale bool
	ProbeIn        time.Duration // until [Conn.Probe] is due; not positive: now
	Probing        bool          // a probe is in progress
}

// Load returns the connection's load. With reset set, it begins a new period for Peak and Starved.
// Only the caller of SetQuota should reset.
func (c *Conn) Load(reset bool) Load {
	o, now := &c.out, c.terms.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	r := &o.rdy
	l := Load{
		Quota: r.quota, Held: max(r.quota, r.inForce-r.drift.Allowance(), r.unanswered()),
		InFlight: r.unanswered(), Peak: r.peak, Starved: r.starved, RTT: r.window.RTT(),
		Received: o.stats.received, Bytes: o.stats.bytesReceived,
		Allowance: r.drift.Allowance(), Drifted: r.drift.cause != nil, Stale: r.drift.Stale(now, c.staleSilence(), r.inFlight == 0),
		ProbeIn: r.drift.ProbeAt() - now, Probing: r.drift.Probing(),
	}
	if now < r.until {
		l.Held = max(l.Held, r.above-r.drift.Allowance())
	}
	if reset {
		r.peak, r.starved = r.inFlight, r.full()
	}
	return l
}

// SetQuota sets how many messages the connection may have in flight; a negative n means 0. The
// write loop derives RDY from the quota: at most nsqd's max-rdy-count and, unless the subscription
// has FixedRDY, at most what the connection can use (see [Stats]). RDY is above the quota by what
// nsqd counts too many (see [Conn.Drift]), but 0 if the quota is. After the quota is lowered,
// [Sink.Yielded] is called as soon as nsqd obeys it.
func (c *Conn) SetQuota(n int) {
	o := &c.out
	o.mu.Lock()
	o.rdy.yielding = o.rdy.yielding || n < o.rdy.quota
	if o.rdy.quota = max(n, 0); n > 0 {
		c.armProbe()
	} else {
		c.pauseProbe()
	}
	o.unlock()
}

// SetTimedOut sets how many of the messages in flight have timed out. nsqd has requeued them and no
// longer counts them, so RDY does not count them either.
func (c *Conn) SetTimedOut(n int) {
	o := &c.out
	o.mu.Lock()
	if n > o.rdy.timedOut {
		o.rdy.drift.Doubt(c.terms.Now())
	}
	o.rdy.timedOut = n
	o.unlock()
}

// MaxRDY returns the largest RDY that nsqd accepts.
func (c *Conn) MaxRDY() int { return c.out.rdy.max }

// frameOverhead is the number of bytes that nsqd sends with a body.
const frameOverhead = 4 + 4 + wire.MessageHeaderLen

func (o *outbox) received(a flow.Arrival, bytes int, turn *Turn) {
	o.mu.Lock()
	o.hold(turn)
	s := &o.stats
	s.received += uint64(a.Messages)
	s.bytesReceived += uint64(bytes)
	o.rdy.received(a, o.bufferSize/(int(s.bytesReceived/s.received)+frameOverhead)+1)
	o.full.Store(o.rdy.full())
	o.unlockPatient()
}

// Full reports whether the whole quota was in flight when a message was last received: nsqd may have
// more.
func (c *Conn) Full() bool { return c.out.full.Load() }

// Received returns the number of messages received.
func (c *Conn) Received() uint64 {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.stats.received
}
