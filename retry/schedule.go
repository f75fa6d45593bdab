package retry

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

type schedule []time.Duration

// Schedule returns a policy whose delay after attempt n is d[n-1]. After the end of d the last
// entry repeats; to give the message up instead, make [Stop] the last entry. Schedule has no
// jitter.
//
// There must be at least one entry. Each must be at least 0, except a Stop at the end.
func Schedule(d ...time.Duration) Policy {
	return schedule(slices.Clone(d))
}

func (s schedule) Delay(attempt int, _ error) time.Duration {
	if len(s) == 0 {
		return 0
	}
	return max(s[min(counted(attempt), len(s))-1], Stop)
}

// Validate reports an empty schedule, and each entry that is out of range.
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
