package retry

import "time"

// marked is an error with its verdict.
type marked struct {
	verdict Verdict
	err     error // nil for Again only
}

// Permanent marks err as an error that no further attempt can cure. The message goes to the dead
// letter topic; if there is none, it is finished and the error is logged. Permanent(nil) is nil,
// like cenkalti's backoff.Permanent(nil).
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &marked{Verdict{Action: GiveUp}, err}
}

// Drop marks err as an error for which the message is not worth keeping. The message is finished
// without a dead letter. Drop(nil) is nil, which also finishes the message.
func Drop(err error) error {
	if err == nil {
		return nil
	}
	return &marked{Verdict{Action: Discard}, err}
}

// After requeues the message after d, instead of the delay of the policy. A negative d counts as 0,
// which means at once. nsqd shortens d to its -max-req-timeout.
//
// With a non-nil err the attempt has failed, and the consumer's limits on attempts and age apply.
// With a nil err it has not failed, and no limit applies: the message may be requeued any number of
// times. The result is never nil, since a nil error would finish the message.
//
// When a later attempt fails, the age of the message includes its delays, and deliveries requeued
// with a nil err count as attempts only if the consumer does not remember them: it remembers the last
// 2048 messages at least, and nothing of earlier processes or of other instances.
func After(d time.Duration, err error) error {
	action := Delay
	if err == nil {
		action = Again
	}
	return &marked{Verdict{Action: action, Delay: max(d, 0)}, err}
}

// Quietly marks err as a failure that says nothing of what handlers depend on, such as one that the
// message itself causes: the attempt counts for the limits on attempts and age, but not as a failure
// for the consumer's breaker. The message is requeued after the delay of the policy, whatever a
// marker in err says. Quietly(nil) is nil.
func Quietly(err error) error {
	if err == nil {
		return nil
	}
	return &marked{Verdict{Action: Backoff, Quiet: true}, err}
}

// AfterQuietly is After(d, err) for a failure such as that of [Quietly]. AfterQuietly(d, nil) is
// After(d, nil).
func AfterQuietly(d time.Duration, err error) error {
	if err == nil {
		return After(d, nil)
	}
	return &marked{Verdict{Action: Delay, Delay: max(d, 0), Quiet: true}, err}
}

// Error returns the marker and the marked error.
func (m *marked) Error() string {
	switch m.verdict.Action {
	case GiveUp:
		return "permanent: " + m.err.Error()
	case Discard:
		return "drop: " + m.err.Error()
	case Backoff:
		return m.err.Error()
	case Delay:
		return "after " + m.verdict.Delay.String() + ": " + m.err.Error()
	default:
		return "nsqx: again after " + m.verdict.Delay.String()
	}
}

func (m *marked) Unwrap() error { return m.err }
