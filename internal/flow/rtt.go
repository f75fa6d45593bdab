package flow

import "time"

// rttAge is how long a sample counts at least; it is forgotten after twice that.
const rttAge = 5 * time.Second

// RTT is the smallest of the round trips measured lately: one that took longer has waited for something else, too. Where
// nothing is measured any more, what was measured last stays. The zero value knows none, and says 0.
type RTT struct {
	now, last time.Duration // smallest of this period and of the one before
	until     time.Duration // end of this period
}

// Sample adds a round trip that ended at an instant.
func (r *RTT) Sample(d, at time.Duration) {
	if r.until == 0 || at >= r.until {
		r.last = r.now
		if r.until == 0 || at >= r.until+rttAge {
			r.last = d
		}
		r.now, r.until = d, at+rttAge
		return
	}
	r.now = min(r.now, d)
}

// Min returns the smallest.
func (r *RTT) Min() time.Duration { return min(r.now, r.last) }
