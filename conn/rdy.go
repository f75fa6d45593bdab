package conn

import (
	"time"

	"github.com/nsqx/nsqx/internal/flow"
)

// rdy decides how many messages nsqd may have in flight here: what the consumer allows, and no more than the window wants
// beyond those that are in flight. All of it is guarded by the mutex of the outbox.
type rdy struct {
	max   int  // nsqd's max-rdy-count
	fixed bool // no window: all that is allowed, always

	quota    int // most messages in flight, set by the consumer
	inForce  int // last RDY written
	inFlight int // received and not answered
	timedOut int // those of them that nsqd no longer counts

	window       flow.Window
	raised       time.Duration // when nsqd was last given room
	nudgeTimer   *time.Timer   // nil until it is needed
	nudgeArmed   bool          // poke is set
	wasNudgeable bool          // nsqd could send more than one message

	yielding bool          // the share was lowered, and nobody was told yet that it is kept
	above    int           // an RDY of before, which nsqd may still act on
	until    time.Duration // until when
	peak     int           // most in flight since the last Load
	starved  bool          // the share was all in flight since the last Load
}

// unanswered is what nsqd counts as in flight.
func (r *rdy) unanswered() int { return max(r.inFlight-r.timedOut, 0) }

// wanted is the RDY that ought to be in force.
func (r *rdy) wanted() int {
	n := min(r.quota, r.max)
	if r.fixed {
		return n
	}
	return min(n, r.unanswered()+r.window.Size())
}

// urgent says whether RDY is worth a write of its own: to lower it always, to raise it when half of the window is used up.
func (r *rdy) urgent() bool {
	wanted := r.wanted()
	if wanted <= r.inForce || r.fixed {
		return wanted != r.inForce
	}
	return r.inForce-r.unanswered() <= r.window.Size()/2
}

// set notes that an RDY is being written.
func (r *rdy) set(n int, now time.Duration) {
	if n < r.inForce && (r.inForce > r.above || now >= r.until) {
		r.above, r.until = r.inForce, now+2*r.window.RTT()
	}
	if n > r.inForce {
		r.raised = now
	}
	r.inForce = n
	r.window.Open(now, n-r.unanswered())
}

// received takes messages into the account; buffer is how many of them fill nsqd's.
func (r *rdy) received(a flow.Arrival, buffer int) {
	r.inFlight += a.Messages
	r.peak = max(r.peak, r.inFlight)
	r.starved = r.starved || r.full()
	r.window.Received(a, min(r.quota, r.max), buffer)
}

// full says whether all of the share is in flight.
func (r *rdy) full() bool { return r.quota > 0 && r.unanswered() >= r.quota }

// kept says that the share was lowered, nsqd keeps to it, and nobody was told.
func (r *rdy) yielded() bool {
	return r.yielding && r.inForce <= r.quota && r.unanswered() <= r.quota
}

// nudgeable says whether nsqd may be holding messages back: it could send more than one.
func (r *rdy) nudgeable() bool {
	return !r.fixed && r.inForce > r.unanswered()+1
}

func (r *rdy) stopNudge() {
	if r.nudgeTimer != nil {
		r.nudgeTimer.Stop()
	}
}

// nudgeAt is when nsqd is to be poked, if nothing is read before.
func (c *Conn) nudgeAt() time.Duration {
	r := &c.out.rdy
	return max(time.Duration(c.lastRead.Load()), r.raised) + r.window.Silence()
}

// armNudge sees to it that poke is called when it is time. The caller holds o.mu.
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

// poke lowers RDY if nothing has been read for a while, so that nsqd writes what it holds. On a connection on which
// bytes arrive it would only take the speed away.
func (c *Conn) nudge() {
	o, now := &c.out, c.terms.Now()
	o.mu.Lock()
	r := &o.rdy
	r.nudgeArmed = false
	switch {
	case o.dead.Load() || o.cls || o.half:
	case r.nudgeable() && now >= c.nudgeAt():
		r.window.Nudge(now)
	default:
		c.armNudge(now)
	}
	o.unlock()
}
