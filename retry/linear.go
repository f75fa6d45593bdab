package retry

import (
	"errors"
	"fmt"
	"time"
)

type linear struct{ step, max time.Duration }

// Linear returns a policy whose delay after attempt n is step × n, at most max. It has no jitter
// and never gives a message up. step must be at least 0, and max at least step.
func Linear(step, max time.Duration) Policy {
	return linear{step, max}
}

func (l linear) Delay(attempt int, _ error) time.Duration {
	return within(float64(l.step)*float64(counted(attempt)), l.max)
}

// Validate reports every argument that is out of range.
func (l linear) Validate() error {
	var faults []error
	if l.step < 0 {
		faults = append(faults, fmt.Errorf("nsqx: retry.Linear: step is %v, must be at least 0", l.step))
	}
	if l.max < l.step || l.max < 0 {
		faults = append(faults, fmt.Errorf("nsqx: retry.Linear: max is %v, must be at least 0 and at least step (%v)", l.max, l.step))
	}
	return errors.Join(faults...)
}
