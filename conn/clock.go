package conn

import "time"

// nsqd's message timeout goes on while this process is suspended, for instance with its virtual machine.
// The monotonic clock may stand still meanwhile, so that an answer seems to be in time that would hit the
// next delivery. The wall clock, set right afterwards, shows it. It is looked at where a late answer would
// do harm: before a REQ, a TOUCH or the FIN of a give-up is written; and at each heartbeat.

// leap is the least difference between the clocks that counts. It may also be the wall clock that was
// set: then some answers are left out, and nsqd delivers those messages again.
const leap = time.Second

// skew returns how far the wall clock has run ahead of the monotonic one since start.
func skew(start time.Time) time.Duration {
	now := time.Now()
	return now.Round(0).Sub(start.Round(0)) - now.Sub(start)
}

// checkClock makes what was delivered before a leap expire earlier. The caller holds o.mu.
func (o *outbox) checkClock() {
	now := o.skew()
	lost := now - o.lastSkew
	o.lastSkew = now
	if lost < leap {
		return
	}
	o.terms.Slept(lost)
	for i := range o.expiring {
		o.expiring[i].by -= lost
	}
}
