package lookup

import "time"

// Interval returns base ± 20 %, the time until the next poll, so consumers that start together do
// not keep polling together. random returns a number in [0, 1), like [math/rand/v2.Float64].
func Interval(base time.Duration, random func() float64) time.Duration {
	return time.Duration(float64(base) * (0.8 + 0.4*random()))
}
