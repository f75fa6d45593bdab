package notify

import (
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
)

// Kind is the kind of an Event.
type Kind uint8

const (
	Connect Kind = iota
	Disconnect
	DialError
	UnnamedDialError // of an address that nobody names, while others are connected
	Refused
	Lookup
	Backoff
	Overdue
	GivenBack
	Drift

	// Only logged:
	Register     // failed, or works again if Err is nil
	StillOverdue // Found handlers are overdue; Message is that of the oldest
	Returned     // a handler that was overdue
	Spared       // messages without attempts left are kept
	BytesCut     // WithMaxInFlightBytes allows Found messages where Results are wanted
	DelayCut     // a delay of Took was cut to Retry
	SmallBatches // batches have Found messages at most, not Named
	Draining     // the drain begins; Found handlers run
	StillDrains  // it waits for Found handlers; Message is that of the oldest, if there is one
	Drained      // the drain has ended
	failed       // the first failure of a kind: see Fail
)

// Event is something that happened. Which fields count depends on the kind.
type Event struct {
	Kind Kind
	observe.ConnEvent

	State           observe.BackoffState // of Backoff
	Since           time.Time            // of Backoff: when the breaker opened; of handlers: when the message was received
	Failed, Results int                  // of Backoff

	Message  handler.ID // of Overdue and other kinds about a message
	Attempts int
	Age      time.Duration // since the message was received
	MsgAge   time.Duration // since nsqd accepted it

	Allowance int  // of Drift
	Renewed   bool // of Drift

	Source string        // of Lookup, Register
	Index  int           // of Lookup: which source, since names need not differ
	Found  int           // of Lookup: addresses; of others: messages or handlers
	Named  int           // of Lookup: nsqds named by all sources; of SmallBatches
	All    bool          // of Lookup: all sources were polled
	Good   bool          // of Lookup: the answer can be relied on, whatever Err says
	Took   time.Duration // of Lookup, Drained; of Draining and StillDrains: how long it may take
	Reason string        // of GivenBack, Draining

	Lookupd bool                           // of Lookup: the source is a nsqlookupd
	Settled map[handler.Disposition]uint64 // of Drained: messages since Draining

	failure *failure // of failed
}

// SetMessage says which message the event is about.
func (e *Event) SetMessage(d *handler.Delivery) {
	e.NSQD, e.Message, e.Attempts, e.MsgAge = d.NSQD(), d.ID, Attempts(d), Age(d)
	e.Since, e.Age = d.Received(), time.Since(d.Received())
}

// Attempts is nsqd's number of a delivery. Its counter has 16 bits: 0 means that it has wrapped.
func Attempts(d *handler.Delivery) int {
	if d.Attempts == 0 {
		return 1 << 16
	}
	return int(d.Attempts)
}

// Age is how long ago nsqd accepted a message, by its clock; 0 if that is unknown.
func Age(d *handler.Delivery) time.Duration {
	if d.Timestamp().UnixNano() <= 0 {
		return 0
	}
	return max(time.Since(d.Timestamp()), 0)
}
