package handler

import "time"

// Disposition is what a consumer has decided about a delivery.
type Disposition uint8

const (
	Pending     Disposition = iota // not settled yet
	Finish                         // FIN: handled
	Requeue                        // REQ: again, after Outcome.Delay
	Drop                           // FIN: given up; the message is discarded
	DeadLetter                     // FIN: given up, after it was published to the dead-letter topic
	Skip                           // FIN: not handled; Redrive published it for another channel
	Interrupted                    // REQ 0: failed because of the shutdown
	Expired                        // no answer: failed after nsqd had stopped waiting
	Lost                           // no answer: the connection is gone
)

var dispositions = [...]string{"pending", "finish", "requeue", "drop", "dead_letter", "skip", "interrupted", "expired", "lost"}

// String returns the name that logs, metrics and spans use.
func (d Disposition) String() string {
	if int(d) < len(dispositions) {
		return dispositions[d]
	}
	return "unknown"
}

// Outcome is what nsqd hears about a delivery, and why. The zero Outcome belongs to a message
// that is not settled yet.
type Outcome struct {
	Disposition Disposition
	Delay       time.Duration // of a Requeue; 0 otherwise
	Err         error         // from the handler; nil on success
}
