package conn

import (
	"time"

	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/wire"
)

// Load is what a consumer needs to know of a connection to share out its messages in flight.
type Load struct {
	Quota    int           // as it was set
	Held     int           // most that nsqd may take for its share: the share itself, RDY, those in flight, an RDY still on its way
	InFlight int           // received and not answered
	Peak     int           // most in flight since the last call
	Starved  bool          // all of the share was in flight since the last call
	RTT      time.Duration // smallest round trip of late; 0 where it cannot be seen

	Received uint64 // messages
	Bytes    uint64 // of their bodies
}

// Load returns the connection's load. anew begins a new period for its Peak and Starved. It is for the one who calls SetShare.
func (c *Conn) Load(reset bool) Load {
	o, now := &c.out, c.terms.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	r := &o.rdy
	l := Load{
		Quota: r.quota, Held: max(r.quota, r.inForce, r.unanswered()),
		InFlight: r.inFlight, Peak: r.peak, Starved: r.starved, RTT: r.window.RTT(),
		Received: o.stats.received, Bytes: o.stats.bytesReceived,
	}
	if now < r.until {
		l.Held = max(l.Held, r.above)
	}
	if reset {
		r.peak, r.starved = r.inFlight, r.full()
	}
	return l
}

// SetQuota sets how many messages the connection may have in flight. The write loop makes an RDY of it: at most nsqd's
// max-rdy-count, and, unless the subscription has a FixedRDY, no more than the connection can use (see [Stats]). When the share
// is lowered, [Sink.Yielded] is called as soon as nsqd keeps to it.
func (c *Conn) SetQuota(n int) {
	o := &c.out
	o.mu.Lock()
	o.rdy.yielding = o.rdy.yielding || n < o.rdy.quota
	o.rdy.quota = max(n, 0)
	o.unlock()
}

// SetTimedOut says how many of the messages in flight are so late that nsqd has given them to someone else: it no longer counts
// them, so RDY must not either.
func (c *Conn) SetTimedOut(n int) {
	o := &c.out
	o.mu.Lock()
	o.rdy.timedOut = n
	o.unlock()
}

// MaxRDY returns the largest RDY that nsqd accepts.
func (c *Conn) MaxRDY() int { return c.out.rdy.max }

// frameOverhead is what nsqd sends around a body.
const frameOverhead = 4 + 4 + wire.MessageHeaderLen

// received takes messages into the account; bytes are those of their bodies.
func (o *outbox) received(a flow.Arrival, bytes int) {
	o.mu.Lock()
	s := &o.stats
	s.received += uint64(a.Messages)
	s.bytesReceived += uint64(bytes)
	o.rdy.received(a, o.bufferSize/(int(s.bytesReceived/s.received)+frameOverhead)+1)
	o.unlock()
}

// Received returns how many messages have come.
func (c *Conn) Received() uint64 {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.stats.received
}
