package retry

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

type schedule []time.Duration

// Schedule is the policy that waits d[n-1] after the nth attempt. Past its end
// the last delay repeats; to give a message up there instead, let [Stop] be the
// last entry. It has no jitter.
//
// There must be at least one entry, and each must be at least 0, save a Stop at
// the end.
func Schedule(d ...time.Duration) Policy {
	return schedule(slices.Clone(d))
}

func (s schedule) Delay(attempt int, _ error) time.Duration {
	if len(s) == 0 {
		return 0
	}
	return max(s[min(counted(attempt), len(s))-1], Stop)
}

// Validate reports an empty schedule, and each entry out of its range.
func (s schedule) Validate() error {
	if len(s) == 0 {
		return errors.New("nsqx: retry.Schedule: has no entries, must have at least one delay")
	}
	var faults []error
	for i, d := range s {
		switch last := i == len(s)-1; {
		case d >= 0, last && d == Stop:
		case d == Stop:
			faults = append(faults, fmt.Errorf("nsqx: retry.Schedule: entry %d of %d is Stop, must be the last", i+1, len(s)))
		default:
			faults = append(faults, fmt.Errorf("nsqx: retry.Schedule: entry %d of %d is %v, must be at least 0, or Stop at the end", i+1, len(s), d))
		}
	}
	return errors.Join(faults...)
}
