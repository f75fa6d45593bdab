package retry

import (
	"errors"
	"math"
	"time"
)

// Policy decides how long a message that failed waits for its next attempt.
//
// Delay is told which attempt failed, from 1 to 65536, and with which error. It
// answers with the time until the next attempt; a negative one, such as [Stop],
// gives the message up. nsqd's counter has 16 bits: after attempt 65535 it
// arrives as 0, which the consumer takes for 65536, and so do the policies of
// this package for any attempt below 1.
//
// Delay is called from many goroutines at once, and must not block: it is on the
// message's way to its answer.
//
// A Policy may also have a method Validate() error. It is called when the
// consumer is built, which fails with what it returns.
type Policy interface {
	Delay(attempt int, err error) time.Duration
}

// Stop is the delay that gives a message up: it goes the way of a [Permanent]
// error.
const Stop time.Duration = -1

// PolicyFunc makes a policy of a function. It is told the attempt as it comes,
// and any negative answer gives the message up. A panic in the function is not
// recovered here. A nil PolicyFunc is reported by Validate, and its delay is 0.
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

// maxAttempt stands for every attempt after nsqd's counter has wrapped.
const maxAttempt = 65536

// counted is the attempt as a policy counts: a wrapped counter is never taken
// for a first attempt.
func counted(attempt int) int {
	if attempt < 1 {
		return maxAttempt
	}
	return attempt
}

// within converts nanoseconds to a duration in 0 … limit. The comparisons are
// made on floats, since converting NaN, infinity or anything above 2⁶³ gives a
// different number on each architecture.
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
