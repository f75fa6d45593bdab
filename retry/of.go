package retry

import (
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Action is what an error asks to be done with a message. The zero value is
// [Finish].
type Action uint8

const (
	Finish  Action = iota // nil: the message is done
	Backoff               // an error without a marker: the policy decides
	Delay                 // After(d, err): failed, requeue after d
	Again                 // After(d, nil): not failed, requeue after d
	GiveUp                // Permanent, or cenkalti's *backoff.PermanentError: dead letter
	Discard               // Drop: finish and forget
)

// String returns the action in lower case: "finish", "backoff", "delay",
// "again", "give up" or "discard".
func (a Action) String() string {
	switch a {
	case Finish:
		return "finish"
	case Backoff:
		return "backoff"
	case Delay:
		return "delay"
	case Again:
		return "again"
	case GiveUp:
		return "give up"
	case Discard:
		return "discard"
	default:
		return "Action(" + strconv.Itoa(int(a)) + ")"
	}
}

// Verdict is what an error asks for. The zero value is that of a nil error.
type Verdict struct {
	Action Action
	Delay  time.Duration // for Delay and Again, at least 0; else 0
}

// Of says what err asks for. It walks the tree of err as [errors.As] does, depth
// first and in order through Unwrap() error and Unwrap() []error, and the first
// marker it meets wins: the outermost of a chain, the leftmost of a join. An
// error without a marker is left to the policy.
//
// Of does not allocate, and is safe for concurrent use.
func Of(err error) Verdict {
	if err == nil {
		return Verdict{Action: Finish}
	}
	if v, ok := find(err); ok {
		return v
	}
	return Verdict{Action: Backoff}
}

func find(err error) (v Verdict, ok bool) {
	for err != nil {
		switch e := err.(type) {
		case *marked:
			return e.verdict, true
		case *backoff.PermanentError:
			return Verdict{Action: GiveUp}, true
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, branch := range e.Unwrap() {
				if v, ok := find(branch); ok {
					return v, true
				}
			}
			return Verdict{}, false
		default:
			return Verdict{}, false
		}
	}
	return Verdict{}, false
}
