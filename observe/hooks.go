package observe

import (
	"time"

	"github.com/nsqx/nsqx/handler"
)

// Hooks are functions that a consumer, a producer or a publisher calls when something happens.
// Each may be nil. Several Hooks add up: see nsqx.WithHooks.
//
// All but OnSettle are called by one goroutine of the service, one after the other and in order. A
// slow hook delays later hooks and log records, but neither messages nor connections; when 128
// events wait, further ones are dropped and counted in EventsDropped of the service's Stats. A hook
// that panics, or calls runtime.Goexit, is logged.
type Hooks struct {
	// OnConnect is called when a connection is ready: subscribed, or able to publish.
	OnConnect func(ConnEvent)

	// OnDisconnect is called when such a connection has ended.
	OnDisconnect func(ConnEvent)

	// OnDialError is called when an attempt to connect has failed.
	OnDialError func(ConnEvent)

	// OnRefused is called when nsqd refused an answer or a TOUCH (E_FIN_FAILED, E_REQ_FAILED,
	// E_TOUCH_FAILED): it came after the message timeout, the channel was emptied, or nsqd had the
	// message twice.
	OnRefused func(ConnEvent)

	// OnLookup is called after each poll of a nsqlookupd or Discoverer.
	OnLookup func(LookupEvent)

	// OnBackoff is called when the breaker opens (nearly all messages fail, and the consumer asks for
	// no more), when it lets one message try, and when it closes.
	OnBackoff func(BackoffEvent)

	// OnOverdue is called once for each message whose handler still runs after nsqd has given the
	// message to another consumer, or may have, since the connection was lost.
	OnOverdue func(OverdueEvent)

	// OnGivenBack is called when messages were given back to nsqd that no handler had seen.
	OnGivenBack func(GivenBackEvent)
	// OnDrift is called when a connection finds that nsqd counts more messages in flight on it than
	// there are, once a connection, and when such a connection is replaced.
	OnDrift func(DriftEvent)

	// OnSettle is called for each message that went through the chain, before nsqd is told its
	// Outcome. It runs in the handler's goroutine, many at a time. The body is still readable.
	OnSettle func(*handler.Message)
}

// IsZero reports whether no function is set.
func (h Hooks) IsZero() bool {
	return h.OnConnect == nil && h.OnDisconnect == nil && h.OnDialError == nil && h.OnRefused == nil &&
		h.OnLookup == nil && h.OnBackoff == nil && h.OnOverdue == nil && h.OnGivenBack == nil && h.OnDrift == nil &&
		h.OnSettle == nil
}

// ConnEvent is an event of one connection.
type ConnEvent struct {
	NSQD           string // address
	Topic, Channel string // of a consumer; "" for a publisher
	Time           time.Time
	Err            error         // reason; nil for OnConnect, and after a shutdown that nsqd confirmed
	Retry          time.Duration // until the next dial; 0 for none
}

// LookupEvent is the result of one poll of a nsqlookupd or Discoverer.
type LookupEvent struct {
	Source         string // address of the nsqlookupd, or Go type of the Discoverer
	Topic, Channel string // of a consumer; "" for a publisher
	Time           time.Time
	Duration       time.Duration // of the poll
	Found          int           // addresses
	Err            error         // failure, complete or partial; nil if there was none
}

// BackoffState is a state of a consumer's breaker.
type BackoffState string

// The states of a breaker.
const (
	BackoffOpen   BackoffState = "open"   // no message is asked for; again after each probe that fails
	BackoffProbe  BackoffState = "probe"  // one message may try
	BackoffClosed BackoffState = "closed" // messages are handled again
)

// BackoffEvent is a change of a consumer's breaker.
type BackoffEvent struct {
	Topic, Channel string
	Time           time.Time
	State          BackoffState
	Delay          time.Duration // of BackoffOpen: until one message may try
	Err            error         // of the message that failed last

	// Results are what the breaker went by when it last opened or closed, and Failed how many of them
	// failed. The results of a closing are those since the probe.
	Failed, Results int
}

// OverdueEvent is a handler that has outlived its message.
type OverdueEvent struct {
	NSQD           string // address
	Topic, Channel string
	Time           time.Time
	ID             handler.ID
	Age            time.Duration // since the message was received
}

// GivenBackEvent is a number of messages that were given back to nsqd, which costs each an attempt.
type GivenBackEvent struct {
	Topic, Channel string
	Time           time.Time
	Reason         string // "stall": no worker was free; "overflow": no room; "suspended": paused, or the breaker is open
	Messages       int
}

// MarshalJSON implements [json.Marshaler]: see the package documentation for the form.
func (e GivenBackEvent) MarshalJSON() ([]byte, error) { return marshal(e) }

// DriftEvent is a wrong count of nsqd: it counts more messages in flight on a connection than there
// are, so it would deliver fewer than RDY says, or none. It is usual after nsqd was killed, since its
// disk queue may then hold a message twice.
type DriftEvent struct {
	NSQD           string // address
	Topic, Channel string
	Time           time.Time
	Allowance      int   // by how much the count is too high, as far as is known; RDY allows for it
	Err            error // what has shown it: the error of nsqd, or a probe; nil if it is only possible
	Renewed        bool  // the connection is being replaced by a new one, whose count is right
}

// MarshalJSON implements [json.Marshaler]: see the package documentation for the form.
func (e ConnEvent) MarshalJSON() ([]byte, error) { return marshal(e) }

// MarshalJSON implements [json.Marshaler]: see the package documentation for the form.
func (e LookupEvent) MarshalJSON() ([]byte, error) { return marshal(e) }

// MarshalJSON implements [json.Marshaler]: see the package documentation for the form.
func (e BackoffEvent) MarshalJSON() ([]byte, error) { return marshal(e) }

// MarshalJSON implements [json.Marshaler]: see the package documentation for the form.
func (e OverdueEvent) MarshalJSON() ([]byte, error) { return marshal(e) }

// MarshalJSON implements [json.Marshaler]: see the package documentation for the form.
func (e DriftEvent) MarshalJSON() ([]byte, error) { return marshal(e) }
