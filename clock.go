package nsqx

import "time"

// clock adds up for how long workers are busy, all together: from the moment one
// wakes up for a message until it goes to sleep again. A busy worker costs no
// look at the time.
type clock struct {
	busy  int // workers
	total time.Duration
	since time.Time // when total was right
}

// add makes n more workers busy.
func (c *clock) add(n int) {
	now := time.Now()
	c.total += time.Duration(c.busy) * now.Sub(c.since)
	c.since = now
	c.busy += n
}
