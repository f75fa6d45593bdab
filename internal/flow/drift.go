package flow

import "time"

const (
	// firstProbe is how long a connection with room must bring nothing before a probe, if its count is in
	// doubt; each further probe waits twice as long, up to lastProbe. idleProbe is for all others.
	firstProbe = 2 * time.Second
	lastProbe  = time.Minute
	idleProbe  = 10 * time.Minute

	// mostProbes is how many probes there are for one cause: after 2, 4 … 60 s.
	mostProbes = 6

	// settle is how long after a cause a message may still have been sent before it.
	settle = 500 * time.Millisecond

	// mostSteps and longestProbe bound a probe.
	mostSteps    = 64
	longestProbe = 5 * time.Second
)

// Drift tracks by how much nsqd's count of a connection's messages in flight is too high. nsqd
// compares RDY with that count, so a count that is too high stops deliveries unless RDY allows for
// it. nsqd never corrects it: after a kill, its disk queue may hold a message twice under one id, and
// the second FIN of two that are in flight together is refused and counts nothing down.
//
// Three things show the error. A refused answer that was in time says that the count is one too
// high. A message says that the count was below RDY, so it bounds the error. And a probe, which
// raises RDY for a moment, brings messages that the error has held back; as they may have come by
// chance, the connection is then replaced, rather than RDY raised for good.
//
// Instants are durations since any fixed instant. The zero Drift is that of a new connection.
type Drift struct {
	allowance int  // added to RDY
	doubtful  bool // something may have raised nsqd's count since a message has bounded it
	found     bool // a probe has brought messages
	probes    int  // since the last cause

	received time.Duration // last message
	active   time.Duration // last message or answer
	doubted  time.Duration // last cause
	probed   time.Duration // end of the last probe

	step  int // of the probe in progress; 0: none
	steps int
	began time.Duration // of the probe
	up    bool          // RDY is raised by step
	last  bool          // step is the last one
}

// Allowance returns how much RDY must be higher because nsqd counts too many.
func (d *Drift) Allowance() int { return d.allowance }

// Extra returns how much is added to RDY now: the allowance, and the step of a probe.
func (d *Drift) Extra() int {
	if d.up {
		return d.allowance + d.step
	}
	return d.allowance
}

// Refused counts an answer that nsqd has refused although it was in time. limit bounds the
// allowance.
func (d *Drift) Refused(now time.Duration, limit int) {
	d.allowance = max(min(d.allowance+1, limit), d.allowance)
	d.Doubt(now)
}

// Doubt says that something has happened that may raise nsqd's count: an answer was refused, or a
// delivery went unanswered.
func (d *Drift) Doubt(now time.Duration) { d.doubtful, d.doubted, d.probes = true, now, 0 }

// Answered says that answers were written at now.
func (d *Drift) Answered(now time.Duration) { d.active = max(d.active, now) }

// Received takes messages that were read at now. rdy is the highest RDY that nsqd may have obeyed,
// inFlight includes the messages: nsqd's count is at most rdy, so the error is at most the
// difference. rest is how much room the connection has without an allowance when nothing is in
// flight and its topic is quiet. A message ends a probe, and proves nothing then.
func (d *Drift) Received(now time.Duration, rdy, inFlight, rest int) {
	d.received, d.active = now, max(d.active, now)
	if d.step > 0 {
		d.found = true
		d.endProbe(now)
		return
	}
	switch bound := max(rdy-inFlight, 0); {
	case bound < d.allowance:
		d.allowance = bound
		d.Doubt(now) // the bound is too low if nsqd has timed out messages that inFlight includes
	case bound < d.allowance+rest && now-d.doubted >= settle:
		d.doubtful = false
	}
}

// Found reports whether a probe has brought messages: nsqd's count is wrong, by an unknown number, or
// the messages came by chance at that moment.
func (d *Drift) Found() bool { return d.found }

// Stale reports whether the connection should be replaced by a new one, whose count is right. idle
// says that nothing is in flight. silence is how long nsqd may keep a message in its buffer.
func (d *Drift) Stale(now, silence time.Duration, idle bool) bool {
	if d.found {
		return true
	}
	quiet := idle && now-d.received >= silence && now-d.active >= silence/2 && d.step == 0
	return quiet && (d.allowance > 0 || d.doubtful && d.probes >= mostProbes)
}

// ProbeAt returns when the next probe is due.
func (d *Drift) ProbeAt() time.Duration {
	if !d.doubtful || d.probes >= mostProbes {
		return max(d.active, d.probed) + idleProbe
	}
	if d.probes == 0 {
		return max(d.active, d.doubted) + firstProbe
	}
	return max(d.active+firstProbe, d.probed+min(firstProbe<<d.probes, lastProbe))
}

// Probing reports whether a probe is in progress.
func (d *Drift) Probing() bool { return d.step > 0 }

// Probe begins a probe. It does nothing if one is in progress.
func (d *Drift) Probe(now time.Duration) {
	if d.step == 0 {
		d.step, d.steps, d.began, d.up = 1, 1, now, true
	}
}

// NextStep goes on with a probe. RDY falls after each step, so that nsqd flushes its buffer and a
// message shows which step has brought it, and then rises further: by twice as much up to the quota, and
// from there by a quarter more, since nsqd may send at once what exceeds the error. full says that
// RDY can rise no further. It returns false at the end of the probe.
func (d *Drift) NextStep(now time.Duration, quota int, full bool) bool {
	switch {
	case d.step == 0:
		return false
	case d.up:
		d.up, d.last = false, full || d.steps == mostSteps || now-d.began > longestProbe
		return true
	case d.last:
		d.endProbe(now)
		return false
	case d.step < quota:
		d.step = min(2*d.step, quota)
	default:
		d.step += max(d.step/4, 1)
	}
	d.steps++
	d.up = true
	return true
}

func (d *Drift) endProbe(now time.Duration) {
	d.step, d.up, d.last, d.probed = 0, false, false, now
	d.probes = min(d.probes+1, mostProbes)
}
