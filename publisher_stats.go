package nsqx

// PublisherStats are a publisher's counters since it was made, and its state at
// about one instant.
type PublisherStats struct {
	InFlight int // messages handed to an nsqd that has not answered yet

	// Messages by what became of them.
	Confirmed, Rejected, NotSent, Unconfirmed uint64

	// EnvelopesSkipped counts messages that went out without their headers,
	// because they would have become too large for nsqd.
	EnvelopesSkipped uint64

	EventsDropped uint64 // log records and hook calls that a slow hook has cost

	Connections []ConnStats   // one for each address; Connected means that it can publish
	Lookups     []LookupStats // one for each nsqlookupd and Discoverer, in the order of the options
}
