package retry

import (
	"errors"
	"math"
	"time"
)

// Policy decides how long a failed message waits for its next attempt.
//
// Delay receives the number of the failed attempt, from 1 to 65536, and its error. It returns the
// time until the next attempt; a negative result, such as [Stop], gives the message up. nsqd counts
// attempts in 16 bits, so after 65535 its counter is 0. The consumer passes 65536 then, and the
// policies of this package treat any attempt below 1 as 65536.
//
// Delay is called concurrently and must not block, since the message is answered only afterwards.
//
// A Policy may also have a method Validate() error. NewConsumer calls it and returns its error.
type Policy interface {
	Delay(attempt int, err error) time.Duration
}

// Stop is the delay that gives a message up, as a [Permanent] error does.
const Stop time.Duration = -1

// PolicyFunc is a policy made of a function. The function receives the attempt unchanged, and any
// negative result gives the message up. PolicyFunc does not recover a panic. Validate reports a nil
// PolicyFunc, whose delay is 0.
type PolicyFunc func(attempt int, err error) time.Duration

// Delay calls f.
func (f PolicyFunc) Delay(attempt int, err error) time.Duration {
	if f == nil {
		return 0
	}
	return f(attempt, err)
}

// Validate reports a nil function.
func (f PolicyFunc) Validate() error {
	if f == nil {
		return errors.New("nsqx: retry.PolicyFunc: is nil, must be a function")
	}
	return nil
}

// maxAttempt is the attempt that nsqd's 16-bit counter reports as 0.
const maxAttempt = 65536

// counted returns attempt, or maxAttempt if the counter has wrapped: a wrapped counter must not
// look like a first attempt.
func counted(attempt int) int {
	if attempt < 1 {
		return maxAttempt
	}
	return attempt
}

// within converts nanoseconds to a duration from 0 to limit. It compares floats, since the
// conversion of NaN, infinity or a number above 2⁶³ depends on the architecture.
func within(ns float64, limit time.Duration) time.Duration {
	limit = max(limit, 0)
	switch {
	case !(ns > 0): // NaN too
		return 0
	case ns >= float64(limit):
		return limit
	default:
		return time.Duration(math.Round(ns))
	}
}
