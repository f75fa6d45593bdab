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

	Connections []ConnStats // one for each address; Connected means that it can publish
}
