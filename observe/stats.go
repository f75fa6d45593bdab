package observe

import (
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// Stats are a consumer's counters since it was made, and its state at about one instant.
type Stats struct {
	Topic, Channel string

	Concurrency int  // handlers that may run at once
	MaxInFlight int  // messages that may be in flight now, over all connections
	Running     int  // handlers that run
	Unanswered  int  // messages whose handlers have returned and answer later: see handler.Async
	Queued      int  // messages received that wait for a handler
	Paused      bool // by Consumer.Pause
	Backoff     bool // the breaker is not closed

	// BackoffLevel counts how many times in a row the breaker has opened; each time doubles the
	// delay, up to the longest. 0 while the breaker is closed.
	BackoffLevel int

	// InProgress are the messages that handlers work on: at most 64, those received first. Overdue
	// counts all whose handler still runs although nsqd has delivered the message elsewhere.
	InProgress []InProgress
	Overdue    int

	// Of all messages that handlers work on: the highest number of deliveries, and the longest time
	// since nsqd accepted one, by nsqd's clock against the local one. 0 if there are none.
	HighestAttempt int
	OldestAge      time.Duration

	BackoffSince time.Time // when the breaker opened; zero while it is closed
	BackoffErr   error     // of the message that failed last; nil while the breaker is closed

	// Deliveries by disposition: see the table of nsqx.Consumer. Deliveries that no handler saw are
	// among Requeued, Interrupted, Expired and Lost.
	Finished, Requeued, Dropped, DeadLettered uint64
	Interrupted, Expired, Lost                uint64

	// Skipped counts messages that Redrive published for another channel, and that were finished
	// unhandled on this one.
	Skipped uint64

	// GivenBack counts deliveries, of those in Requeued, that no handler saw: they waited for too
	// long, had no room, or the consumer was paused or its breaker opened.
	GivenBack uint64

	// Early counts deliveries, of those in Requeued, that came before the message may be handled: see
	// nsqx.Producer.PublishAt. Stale counts those, of Dropped and DeadLettered, that came too late for
	// a handler: see nsqx.WithTTL and nsqx.WithSkipOlder.
	Early, Stale uint64

	// EnvelopesSkipped counts dead letters published without their headers, because with them they
	// would exceed nsqd's message size.
	EnvelopesSkipped uint64

	EventsDropped uint64 // log records and hook calls dropped behind a slow hook

	// Connections has an entry for each address, those of nsqds that are down, too: see Connected.
	// Those of WithNSQD come first, then others as found.
	Connections []ConnStats

	Lookups []LookupStats // one a nsqlookupd or Discoverer, in the order of the options
}

// InProgress is a message that a handler works on.
type InProgress struct {
	ID      handler.ID
	NSQD    string        // address
	Age     time.Duration // since the message was received
	Attempt int           // number of the delivery, from 1
	Overdue bool          // its message timeout is over: nsqd may deliver it elsewhere
}

// PublisherStats are a publisher's counters since it was made, and its state at about one instant.
type PublisherStats struct {
	InFlight int // messages handed to an nsqd that has not answered yet

	// Messages by result.
	Confirmed, Rejected, NotSent, Unconfirmed uint64

	// EnvelopesSkipped counts messages published without their headers, but for those that are
	// required, such as the id, because with them they would exceed nsqd's message size.
	EnvelopesSkipped uint64

	EventsDropped uint64 // log records and hook calls dropped behind a slow hook

	Connections []ConnStats   // one an address, of nsqds that are down, too
	Lookups     []LookupStats // one a nsqlookupd or Discoverer, in the order of the options
}

// ConnStats are the counters of one address, over all its connections, and the state of the present
// one.
//
// nsqd has counts of its own: ready_count and in_flight_count of each client, in nsqadmin and
// /stats. ready_count is the last RDY, which nsqd compares with in_flight_count; it says neither
// whether nsqd delivers nor why RDY is what it is. RDY moves with the messages in flight and is 1
// while the topic is quiet; it is 0 while the consumer is paused, its breaker is open, all handlers
// are busy, or other connections have their turn. After a kill of nsqd in_flight_count may be too
// high; then a ready_count above 0 may be no permission at all. Quota, Window, InFlight and Allowance,
// and Paused, Backoff and Running of [Stats], tell these cases apart.
type ConnStats struct {
	conn.Stats

	Connected bool      // subscribed, or able to publish
	Dials     uint64    // attempts to connect
	Renewed   uint64    // connections replaced because nsqd counted too many messages in flight
	LastErr   error     // of the last attempt or connection that failed; nil when connected
	RetryAt   time.Time // next dial; zero when connected
}

// LookupStats are the results of polling one nsqlookupd or Discoverer.
type LookupStats struct {
	Name          string // address of the nsqlookupd, or Go type of the Discoverer
	Polls, Errors uint64
	Found         int       // addresses in the last successful answer
	LastPoll      time.Time // when the last poll ended
	LastGood      time.Time // when the last successful poll ended; zero before
	LastErr       error     // of the last poll; nil if it was good

	RegisterErrors uint64 // registrations of topic and channel that failed
	RegisterErr    error  // of the last registration; nil if it worked
}

// MarshalJSON implements [json.Marshaler]: see the package documentation for the form.
func (s Stats) MarshalJSON() ([]byte, error) { return marshal(s) }

// MarshalJSON implements [json.Marshaler]: see the package documentation for the form.
func (p InProgress) MarshalJSON() ([]byte, error) { return marshal(p) }

// MarshalJSON implements [json.Marshaler]: see the package documentation for the form.
func (s PublisherStats) MarshalJSON() ([]byte, error) { return marshal(s) }

// MarshalJSON implements [json.Marshaler]: see the package documentation for the form.
func (s ConnStats) MarshalJSON() ([]byte, error) { return marshal(s) }

// MarshalJSON implements [json.Marshaler]: see the package documentation for the form.
func (s LookupStats) MarshalJSON() ([]byte, error) { return marshal(s) }

// Source is a service as probes and statistics see it: see package nsqxhttp. Consumers, producers and
// publishers are Sources. Their other methods are optional: Ready() <-chan struct{}, Live() error,
// and Stats() with [Stats] or [PublisherStats].
type Source interface {
	Healthy() error // nil, or why the service does not work
}
