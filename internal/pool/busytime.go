package pool

import "time"

// busyTime adds up how long workers are busy, all together: from waking up for a message until
// falling asleep. A busy worker does not read the clock.
type busyTime struct {
	busy  int // workers
	total time.Duration
	since time.Time // when total was right
}

// add makes n more workers busy.
func (t *busyTime) add(n int, now time.Time) {
	t.total += time.Duration(t.busy) * now.Sub(t.since)
	t.since = now
	t.busy += n
}
