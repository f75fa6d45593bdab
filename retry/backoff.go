package retry

import (
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// maxReplay bounds the work of one Delay. By step 64 every schedule that grows
// has reached its maximum.
const maxReplay = 64

type replay func() backoff.BackOff

// FromBackOff is the policy that follows a schedule of cenkalti/backoff v4. The
// delay after the nth attempt is the nth answer of a schedule fresh from
// newBackOff; from the 64th attempt on it is the 64th. Nothing is remembered
// between calls, so jitter is drawn anew each time. newBackOff must return a new
// schedule at each call, since calls are concurrent and schedules are not safe
// for that.
//
// backoff.Stop, in any of these answers, gives the message up. So
// backoff.WithMaxRetries works, up to 63 retries; for more, bound the attempts in
// the consumer.
//
// A replay takes no time, so a schedule's own clock does not see the age of the
// message: MaxElapsedTime (15 minutes unless set to 0) does not bound it, but
// gives the message up as soon as a single delay is longer. Set it to 0, and
// bound the age in the consumer.
func FromBackOff(newBackOff func() backoff.BackOff) Policy {
	return replay(newBackOff)
}

func (r replay) Delay(attempt int, _ error) time.Duration {
	if r == nil {
		return 0
	}
	b := r()
	if b == nil {
		return 0
	}
	b.Reset() // as backoff.Retry does; a struct literal is not usable before
	var d time.Duration
	for range min(counted(attempt), maxReplay) {
		if d = b.NextBackOff(); d == backoff.Stop {
			return Stop
		}
	}
	// Below 0 but not Stop is an overflow in the schedule, which backoff.Retry
	// takes for no delay; it must not give the message up.
	return max(d, 0)
}

// Validate reports a nil function, and tries out the first step, so that a
// schedule that cannot be used (a struct literal without its Clock, say) is found
// when the consumer is built rather than when the first message fails.
func (r replay) Validate() (err error) {
	if r == nil {
		return errors.New("nsqx: retry.FromBackOff: newBackOff is nil, must be a function")
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("nsqx: retry.FromBackOff: newBackOff's schedule panics, must be ready for use: %v", p)
		}
	}()
	b := r()
	if b == nil {
		return errors.New("nsqx: retry.FromBackOff: newBackOff returns nil, must return a schedule")
	}
	b.Reset()
	b.NextBackOff()
	return nil
}
