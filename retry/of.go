package retry

import (
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Action is what should become of a message. The zero value is [Finish].
type Action uint8

const (
	Finish  Action = iota // nil: the message is done
	Backoff               // an unmarked error, Quietly(err): the policy decides
	Delay                 // After(d, err), AfterQuietly(d, err): failed, requeue after d
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

// Verdict is what an error says about a message. The zero value is the verdict of a nil error.
type Verdict struct {
	Action Action
	Delay  time.Duration // of Delay and Again, at least 0; otherwise 0
	Quiet  bool          // of Backoff and Delay: Quietly, AfterQuietly, no failure for the breaker
}

// Of returns the verdict of err. It walks the tree of err depth first, like [errors.As], and the
// first marker wins: the outermost of a chain, the leftmost of a join. The verdict of an error
// without a marker is [Backoff].
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
