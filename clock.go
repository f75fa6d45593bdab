package nsqx

import (
	"sync/atomic"
	"time"
)

// clock adds up for how long a worker is busy, with one look at the time for each
// message: from the moment a message is taken until the next is, or until the
// worker goes to sleep.
type clock struct {
	epoch time.Time    // any instant before the first message
	total atomic.Int64 // nanoseconds, up to since
	since atomic.Int64 // when the present stretch began, in nanoseconds since epoch; 0: there is none
}

// now is never 0.
func (c *clock) now() int64 { return int64(time.Since(c.epoch)) + 1 }

func (c *clock) begin() {
	now := c.now()
	if since := c.since.Load(); since != 0 {
		c.total.Add(now - since)
	}
	c.since.Store(now)
}

func (c *clock) end() {
	if since := c.since.Swap(0); since != 0 {
		c.total.Add(c.now() - since)
	}
}

// spent may be called by anybody.
func (c *clock) spent() time.Duration {
	d := c.total.Load()
	if since := c.since.Load(); since != 0 {
		d += c.now() - since
	}
	return time.Duration(d)
}
