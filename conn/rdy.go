package conn

import (
	"time"

	"github.com/nsqx/nsqx/internal/flow"
)

// rdy decides how many messages nsqd may have in flight: at most the quota, and at most the window
// beyond those in flight. To that it adds what nsqd counts too many. It is guarded by outbox.mu.
type rdy struct {
	max   int  // nsqd's max-rdy-count
	fixed bool // no window: RDY is the quota

	quota    int // most messages in flight, set by the consumer
	inForce  int // last RDY written
	inFlight int // received and not answered
	timedOut int // of inFlight, those that nsqd no longer counts

	window       flow.Window
	raised       time.Duration // when nsqd last got room
	nudgeTimer   *time.Timer
	nudgeArmed   bool
	wasNudgeable bool // nudgeable at the last write

	yielding bool          // the quota was lowered; Yielded was not called yet
	above    int           // a higher RDY that nsqd may still act on …
	until    time.Duration // … until this instant
	peak     int           // most in flight since the last reset by Load
	starved  bool          // the whole quota was in flight since that reset

	drift drift
}

// unanswered returns how many messages nsqd counts as in flight.
func (r *rdy) unanswered() int { return max(r.inFlight-r.timedOut, 0) }

// allowed returns the highest RDY that the quota permits.
func (r *rdy) allowed() int {
	if r.quota <= 0 {
		return 0
	}
	return min(r.quota+r.drift.Extra(), r.max)
}

func (r *rdy) wanted() int {
	if r.fixed {
		return r.allowed()
	}
	return min(r.allowed(), r.unanswered()+r.window.Size()+r.drift.Extra())
}

// room returns how many messages nsqd may send if RDY is n and its count is as wrong as the
// allowance says.
func (r *rdy) room(n int) int { return n - r.drift.Extra() - r.unanswered() }

// urgent reports whether RDY deserves its own write: to lower it, or to raise it when half of the
// window is used up.
func (r *rdy) urgent() bool {
	wanted := r.wanted()
	if wanted <= r.inForce || r.fixed || r.drift.Probing() {
		return wanted != r.inForce
	}
	return r.room(r.inForce) <= r.window.Size()/2
}

func (r *rdy) set(n int, now time.Duration) {
	if n < r.inForce && (r.inForce > r.above || now >= r.until) {
		r.above, r.until = r.inForce, now+2*r.window.RTT()
	}
	r.drift.wrote(r.inForce, n, now)
	if n > r.inForce {
		r.raised = now
	}
	r.inForce = n
	r.window.Open(now, r.room(n))
}

// received counts messages; buffer is how many of them fill nsqd's output buffer.
func (r *rdy) received(a flow.Arrival, buffer int) {
	r.inFlight += a.Messages
	r.yielding = r.yielding || r.unanswered() > r.quota
	r.peak = max(r.peak, r.inFlight)
	r.starved = r.starved || r.full()
	r.driftReceived(a.At)
	r.window.Received(a, min(r.quota, r.max), buffer)
}

func (r *rdy) full() bool { return r.quota > 0 && r.unanswered() >= r.quota }

// yielded reports that nsqd obeys a lowered quota and Sink.Yielded is due.
func (r *rdy) yielded() bool {
	return r.yielding && r.inForce <= r.allowed() && r.unanswered() <= r.quota
}

// nudgeable reports whether nsqd may be buffering messages: it may send more than one.
func (r *rdy) nudgeable() bool {
	return !r.fixed && r.room(r.inForce) > 1
}

func (r *rdy) stopNudge() {
	if r.nudgeTimer != nil {
		r.nudgeTimer.Stop()
	}
}

func (c *Conn) nudgeAt() time.Duration {
	r := &c.out.rdy
	return max(time.Duration(c.lastRead.Load()), r.raised) + r.window.Silence()
}

// armNudge requires o.mu.
func (c *Conn) armNudge(now time.Duration) {
	r := &c.out.rdy
	if !r.nudgeable() {
		r.wasNudgeable = false
		return
	}
	if !r.wasNudgeable {
		r.wasNudgeable, r.raised = true, now
	}
	if r.nudgeArmed {
		return
	}
	r.nudgeArmed = true
	wait := c.nudgeAt() - now
	if r.nudgeTimer == nil {
		r.nudgeTimer = time.AfterFunc(wait, c.nudge)
	} else {
		r.nudgeTimer.Reset(wait)
	}
}

// nudge lowers RDY after a silence, so that nsqd flushes its buffer. It does nothing while bytes
// arrive: then it would only cost throughput.
func (c *Conn) nudge() {
	o, now := &c.out, c.terms.Now()
	o.mu.Lock()
	r := &o.rdy
	r.nudgeArmed = false
	switch {
	case o.dead.Load() || o.cls || o.half:
	case o.holder != nil: // nothing is read at present
		r.raised = now
		c.armNudge(now)
	case r.nudgeable() && now >= c.nudgeAt():
		r.window.Nudge(now)
	default:
		c.armNudge(now)
	}
	o.unlock()
}
