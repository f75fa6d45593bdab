package e2e

import (
	"sync/atomic"
	"time"
)

// beatsEach is how often a pulse beats.
const beatsEach = 10 * time.Millisecond

// pulse measures for how long this process, as a whole, got no processor. What is late by no more than that has been
// written in time, as far as the consumer could know.
type pulse struct {
	last    atomic.Int64 // beat, in Unix nanoseconds; 0 before the first
	stalled atomic.Int64 // nanoseconds, in all
}

// run beats until done is closed.
func (p *pulse) run(done <-chan struct{}) {
	ticker := time.NewTicker(beatsEach)
	defer ticker.Stop()
	for {
		now := time.Now()
		p.stalled.Store(int64(p.total(now)))
		p.last.Store(now.UnixNano())
		select {
		case <-done:
			return
		case <-ticker.C:
		}
	}
}

// total is how long the process has been stalled up to now.
func (p *pulse) total(now time.Time) time.Duration {
	stalled, last := time.Duration(p.stalled.Load()), p.last.Load()
	if last == 0 {
		return stalled
	}
	return stalled + max(time.Duration(now.UnixNano()-last)-2*beatsEach, 0)
}
