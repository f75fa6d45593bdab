package control

import "time"

const (
	// firstRestraint is how long nothing is asked for ahead after messages were given back; each
	// give-back that follows doubles it, up to maxRestraint.
	firstRestraint = time.Minute
	maxRestraint   = time.Hour
)

// restraint keeps a consumer from asking for more messages than it has free workers, after it had to
// give messages back. The zero value does not.
type restraint struct {
	until time.Time
	last  time.Duration
}

// gaveBack takes messages that were given back because no worker came for them.
func (r *restraint) gaveBack(now time.Time) {
	if now.Before(r.until) {
		return
	}
	if now.Sub(r.until) > max(r.last, firstRestraint) { // the last one was long ago
		r.last = 0
	}
	r.last = min(max(2*r.last, firstRestraint), maxRestraint)
	r.until = now.Add(r.last)
}

// holds reports whether nothing may be asked for ahead.
func (r *restraint) holds(now time.Time) bool { return now.Before(r.until) }
