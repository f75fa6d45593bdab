package conn

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/flow"
)

// errProbed is the cause of a drift that no refused answer has shown.
var errProbed = errors.New("nsqx: messages came only after RDY was raised beyond the quota")

const (
	// transit is how long, beyond two round trips, nsqd may take to act on RDY in a probe.
	transit = 3 * time.Millisecond

	// reach is how long a message may be on its way at least: in nsqd's output buffer, in the socket's.
	// One that is read then was sent under an RDY of that time.
	reach = 250 * time.Millisecond

	// stale is how long a connection with an allowance must bring nothing before it is replaced, unless
	// nsqd's output buffer may keep messages for longer.
	stale = 250 * time.Millisecond

	// mostLate is how many FINs that were written late are remembered.
	mostLate = 1024
)

// drift is what a connection knows of nsqd's count of its messages in flight, which may be too high:
// see [flow.Drift]. It is guarded by outbox.mu.
type drift struct {
	flow.Drift
	cause error        // of the allowance
	late  []handler.ID // FINs that were written when nsqd may have timed out the message

	errors, probed uint64 // see Stats

	peak, peakBefore int           // highest RDY that was lowered since peakFrom, and in the time before
	peakFrom         time.Duration // at most reach ago when peak was set

	timer *time.Timer   // of a probe's step
	began time.Duration // when the step began, or went on after a quota of 0
	left  time.Duration // of the step
	armed bool          // the timer runs
}

// wrote takes a change of RDY.
func (d *drift) wrote(was, is int, now time.Duration) {
	if is < was {
		d.turnPeak(now)
		d.peak = max(d.peak, was)
	}
}

func (d *drift) turnPeak(now time.Duration) {
	switch age := now - d.peakFrom; {
	case age >= 2*reach:
		d.peak, d.peakBefore, d.peakFrom = 0, 0, now
	case age >= reach:
		d.peak, d.peakBefore, d.peakFrom = 0, d.peak, now
	}
}

// driftReceived takes messages that are counted already.
func (r *rdy) driftReceived(at time.Duration) {
	d := &r.drift
	d.turnPeak(at)
	rest := 1
	if r.fixed {
		rest = r.quota
	}
	before := d.Found()
	if d.Received(at, max(r.inForce, d.peak, d.peakBefore), r.unanswered(), rest); !before && d.Found() {
		d.cause = errProbed
		d.errors++
	}
}

// refused takes an error of nsqd that does not end the connection. If it refuses a FIN or REQ that
// was written in time, nsqd has not counted the message down.
func (o *outbox) refused(err *ServerError) {
	o.mu.Lock()
	o.stats.refused++
	d := &o.rdy.drift
	switch i := slices.IndexFunc(d.late, func(id handler.ID) bool { return strings.Contains(err.Text, id.String()) }); {
	case i >= 0 && err.Code == "E_FIN_FAILED":
		d.late = slices.Delete(d.late, i, i+1)
		d.Doubt(o.terms.Now())
	case err.Code == "E_TOUCH_FAILED":
		d.Doubt(o.terms.Now())
	default:
		d.Refused(o.terms.Now(), o.rdy.max)
		d.cause = err
		d.errors++
	}
	o.unlock()
}

// noteLate remembers the FINs in buf. They were written when the oldest of their messages may have
// timed out: then nsqd may refuse them, and has counted the messages down.
func (o *outbox) noteLate(buf []byte) {
	const finLength = len("FIN 0123456789abcdef\n")
	d := &o.rdy.drift
	for line := range bytes.Lines(buf) {
		if len(line) != finLength || line[0] != 'F' {
			continue
		}
		if len(d.late) == mostLate {
			d.late = slices.Delete(d.late, 0, mostLate/2)
		}
		d.late = append(d.late, handler.ID(line[len("FIN "):finLength-1]))
	}
}

// Probe raises RDY for a few milliseconds, step by step and for a short time beyond the quota, to
// see whether nsqd withholds messages because it counts too many in flight. The first message ends
// it. See [Load.ProbeIn].
func (c *Conn) Probe() {
	o := &c.out
	o.mu.Lock()
	if d := &o.rdy.drift; !d.Probing() && c.mayProbe() {
		d.Probe(c.terms.Now())
		d.probed++
		d.left = c.probeStep()
		c.armProbe()
	}
	o.unlock()
}

func (d *drift) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// mayProbe requires o.mu.
func (c *Conn) mayProbe() bool {
	o := &c.out
	return !o.dead.Load() && !o.cls && !o.half && o.rdy.quota > 0
}

// probeStep returns how long each step of a probe lasts. The caller holds o.mu.
func (c *Conn) probeStep() time.Duration { return 2*c.out.rdy.window.RTT() + transit }

// armProbe runs the timer for what is left of a step. The caller holds o.mu.
func (c *Conn) armProbe() {
	d := &c.out.rdy.drift
	if d.armed || !d.Probing() || !c.mayProbe() {
		return
	}
	d.armed, d.began = true, c.terms.Now()
	if d.timer == nil {
		d.timer = time.AfterFunc(d.left, c.nextStep)
	} else {
		d.timer.Reset(d.left)
	}
}

// pauseProbe keeps what is left of a step for the next time that the connection has a quota. The
// caller holds o.mu.
func (c *Conn) pauseProbe() {
	if d := &c.out.rdy.drift; d.armed && d.timer.Stop() {
		d.armed = false
		d.left = max(d.left-(c.terms.Now()-d.began), 0)
	}
}

// nextStep ends a step of a probe.
func (c *Conn) nextStep() {
	o := &c.out
	o.mu.Lock()
	r := &o.rdy
	r.drift.armed = false
	switch {
	case !r.drift.Probing(): // a message has ended it
	case !c.mayProbe():
		r.drift.left = 0
	case r.drift.NextStep(c.terms.Now(), r.quota, r.wanted() >= r.max):
		r.drift.left = c.probeStep()
		c.armProbe()
	}
	o.unlock()
}

// staleSilence returns how long nsqd may keep a message in its buffer.
func (c *Conn) staleSilence() time.Duration {
	return max(stale, min(c.tr.resp.OutputBufferTimeout, 4*stale)) + 2*c.out.rdy.window.RTT()
}

// Drift returns by how much nsqd's count of the messages in flight is too high as far as the
// connection knows, and what has shown it. The cause stays when the allowance has gone.
func (c *Conn) Drift() (allowance int, cause error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.rdy.drift.Allowance(), c.out.rdy.drift.cause
}
