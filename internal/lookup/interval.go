package lookup

import "time"

// Interval is base ± 20 %, for the wait until the next poll: many consumers that start together shall not go on asking together.
// random returns numbers of [0, 1), as [math/rand/v2.Float64] does.
func Interval(base time.Duration, random func() float64) time.Duration {
	return time.Duration(float64(base) * (0.8 + 0.4*random()))
}
