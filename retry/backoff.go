package retry

import (
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// maxReplay limits the steps of one Delay. By step 64 every growing schedule has reached its
// maximum.
const maxReplay = 64

type replay func() backoff.BackOff

// FromBackOff returns the policy of a schedule of cenkalti/backoff v4. The delay after attempt n is
// the nth result of a new schedule; from attempt 64 on, the 64th. Since no schedule outlives a
// call, every call draws new jitter. newBackOff must return a new schedule each time: it is called
// concurrently, and schedules are not safe for concurrent use.
//
// If one of those n results is backoff.Stop, the message is given up. backoff.WithMaxRetries works
// up to 63 retries; for more, limit the attempts in the consumer.
//
// A schedule cannot see the age of a message. MaxElapsedTime (15 minutes unless set to 0) does not
// limit it, but gives the message up once a single delay exceeds MaxElapsedTime. Set MaxElapsedTime
// to 0, and limit the age in the consumer.
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
	b.Reset() // as backoff.Retry does; a struct literal needs it
	var d time.Duration
	for range min(counted(attempt), maxReplay) {
		if d = b.NextBackOff(); d == backoff.Stop {
			return Stop
		}
	}
	// A negative delay other than Stop is an overflow in the schedule. backoff.Retry does not wait
	// then; it must not give the message up.
	return max(d, 0)
}

// Validate reports a nil function. It also tries the first step, which reports an unusable
// schedule, such as a struct literal without a Clock, before the first message fails.
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
