package flow

import (
	"math"
	"time"
)

const (
	// Tick is how often a consumer measures its load.
	Tick = 100 * time.Millisecond

	// ahead is how far in advance, in working time, messages should wait for a worker.
	ahead = 100 * time.Millisecond

	fade = 0.93 // per tick: a measurement counts half after a second

	enoughResults = 100 // for a mean that is not short by chance

	leastResults = 1e-6 // an idle consumer fades no further
)

// Service measures the service time of handlers: the busy time of workers per result. Running
// handlers are included, so a stuck handler shows before it returns. The zero value has no
// measurements.
type Service struct {
	busy    float64 // in nanoseconds
	results float64
	seen    uint64 // results, ever
}

// Add adds one tick: the busy time of all workers and the number of results.
func (s *Service) Add(busy time.Duration, results uint64) {
	if busy == 0 && results == 0 && s.results < leastResults {
		return // else both fade to the least float64, and the mean becomes 1 ns
	}
	s.busy = s.busy*fade + float64(busy)
	s.results = s.results*fade + float64(results)
	s.seen += results
}

// Time returns the mean service time, at most an hour. ok is false before the first result.
func (s *Service) Time() (mean time.Duration, ok bool) {
	if s.results <= 0 {
		return 0, false
	}
	return time.Duration(min(s.busy/s.results, float64(time.Hour))), true
}

// Ahead returns how many messages should wait for the workers so that none waits for the network:
// at most limit, and 0 before the first result.
func (s *Service) Ahead(workers int, rtt time.Duration, limit int) int {
	mean, ok := s.Time()
	if !ok {
		return 0
	}
	n := float64(workers)*float64(max(ahead, 2*rtt))/max(float64(mean), 1) + 0.5
	return int(min(n, float64(limit)))
}

// Capacity returns how many messages may be in flight so that a worker starts each within patience
// of its arrival, however the messages are spread: workers × (1 + ⌊patience / (2 × service time)⌋).
// Before the first result it is one a worker. The mean of few results counts as longer than it is,
// since it may be short by chance, and a worker has no more messages ahead than twice its results. It
// saturates.
func (s *Service) Capacity(workers int, patience time.Duration) int {
	mean, ok := s.Time()
	if !ok {
		return workers
	}
	most := uint64(maxAhead)
	if s.seen < enoughResults {
		mean += time.Duration(2 * float64(mean) / math.Sqrt(float64(s.seen)))
		most = 1 + 2*s.seen/uint64(max(workers, 1))
	}
	return workers * int(1+min(uint64(patience/(2*max(mean, 1))), most))
}

// maxAhead bounds how many messages wait for one worker.
const maxAhead = 1 << 15
