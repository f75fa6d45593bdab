package retry

import "time"

// marked is an error together with what it asks for.
type marked struct {
	verdict Verdict
	err     error // nil for Again only
}

// Permanent marks err as one that no further attempt will cure: the message
// goes to the dead letter topic, or, if none is configured, is finished with an
// error in the log. Permanent(nil) is nil, as cenkalti's backoff.Permanent(nil)
// is: no error, no failure.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &marked{Verdict{Action: GiveUp}, err}
}

// Drop marks err as not worth keeping the message for: it is finished and
// forgotten, even if a dead letter topic is configured. Drop(nil) is nil, which
// finishes the message too.
func Drop(err error) error {
	if err == nil {
		return nil
	}
	return &marked{Verdict{Action: Discard}, err}
}

// After asks for the message to be requeued after d, whatever the policy would
// say. A negative d counts as 0, which is at once. nsqd cuts d to its
// -max-req-timeout.
//
// With an error the attempt has failed, and the bounds of the consumer on
// attempts and age apply. With a nil err it has not: the message comes "again
// later", as often as it is asked for. The result is never nil, since a nil
// error would finish the message.
func After(d time.Duration, err error) error {
	action := Delay
	if err == nil {
		action = Again
	}
	return &marked{Verdict{Action: action, Delay: max(d, 0)}, err}
}

// Error tells the mark and the error that bears it.
func (m *marked) Error() string {
	switch m.verdict.Action {
	case GiveUp:
		return "permanent: " + m.err.Error()
	case Discard:
		return "drop: " + m.err.Error()
	case Delay:
		return "after " + m.verdict.Delay.String() + ": " + m.err.Error()
	default:
		return "nsqx: again after " + m.verdict.Delay.String()
	}
}

func (m *marked) Unwrap() error { return m.err }
