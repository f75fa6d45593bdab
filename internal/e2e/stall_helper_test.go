package e2e

import (
	"sync/atomic"
	"time"
)

// stallTick is the interval of a stallMeter's ticks.
const stallTick = 10 * time.Millisecond

// stallMeter measures how long this process, as a whole, got no CPU. An answer that is late by no
// more than that was written in time, as far as the consumer could know.
type stallMeter struct {
	last    atomic.Int64 // latest tick in Unix nanoseconds; 0 before the first
	stalled atomic.Int64 // total in nanoseconds
}

func (p *stallMeter) run(done <-chan struct{}) {
	ticker := time.NewTicker(stallTick)
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

// total returns how long the process has been stalled up to now.
func (p *stallMeter) total(now time.Time) time.Duration {
	stalled, last := time.Duration(p.stalled.Load()), p.last.Load()
	if last == 0 {
		return stalled
	}
	return stalled + max(time.Duration(now.UnixNano()-last)-2*stallTick, 0)
}
