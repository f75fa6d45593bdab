package retry_test

import (
	"errors"
	"time"

	"github.com/nsqx/nsqx/retry"
)

var errBoom = errors.New("boom")

type quotaError struct{ wait time.Duration }

func (e *quotaError) Error() string { return "quota exceeded" }

// attempts are the first attempts, the last step of FromBackOff, the last attempt that nsqd counts,
// and the one after it.
var attempts = [...]int{1, 2, 3, 10, 64, 65535, 65536}

const (
	second = time.Second
	minute = time.Minute
	stop   = retry.Stop
)

// validate validates a policy as NewConsumer does.
func validate(policy retry.Policy) error {
	if v, ok := policy.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return errors.New("has no Validate")
}
