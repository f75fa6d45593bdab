package flow

import "time"

const (
	// Tick is how often a consumer looks at its load.
	Tick = 100 * time.Millisecond

	// ahead is for how long a worker's messages should be there in advance.
	ahead = 100 * time.Millisecond

	fade = 0.93 // per tick: half of what was measured counts after a second
)

// Service measures how long handlers take: the time that workers were busy for each result. Handlers that still run are in it,
// so one that hangs is seen before it returns. The zero value has measured nothing.
type Service struct {
	busy    float64 // nanoseconds
	results float64
}

// Add adds what was measured in a tick: for how long workers were busy, all together, and what they have done.
func (s *Service) Add(busy time.Duration, results uint64) {
	s.busy = s.busy*fade + float64(busy)
	s.results = s.results*fade + float64(results)
}

// Time is the mean service time. ok is false before there was a result.
func (s *Service) Time() (mean time.Duration, ok bool) {
	if s.results <= 0 {
		return 0, false
	}
	return time.Duration(min(s.busy/s.results, float64(time.Hour))), true
}

// Ahead is how many messages so many workers should have waiting for them, so that none waits for the network: none before there
// was a result, at most limit.
func (s *Service) Ahead(workers int, rtt time.Duration, limit int) int {
	mean, ok := s.Time()
	if !ok {
		return 0
	}
	n := float64(workers)*float64(max(ahead, 2*rtt))/max(float64(mean), 1) + 0.5
	return int(min(n, float64(limit)))
}
