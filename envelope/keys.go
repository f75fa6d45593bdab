package envelope

// Keys of the headers that nsqx adds to a dead letter. The headers of the message stay.
const (
	DeadTopic    = "nsqx-dlq-topic"    // topic from which the message was consumed
	DeadChannel  = "nsqx-dlq-channel"  // channel of that topic
	DeadID       = "nsqx-dlq-id"       // id of the message in that channel
	DeadAttempts = "nsqx-dlq-attempts" // number of deliveries
	DeadError    = "nsqx-dlq-error"    // first 512 bytes of the error
	DeadTime     = "nsqx-dlq-time"     // time of giving up, in RFC 3339
	DeadWrapped  = "nsqx-dlq-wrapped"  // "1": the payload begins like an envelope, and came in one

	OriginTrace = "nsqx-origin-traceparent" // traceparent of the original message
)

// DeadKeys returns all of the keys above, which make a message a dead letter.
func DeadKeys() []string {
	return []string{DeadTopic, DeadChannel, DeadID, DeadAttempts, DeadError, DeadTime, DeadWrapped, OriginTrace}
}

// Keys of the headers that nsqx adds to a dead letter that it publishes again. A message that
// becomes a dead letter once more keeps them: they name the first topic that gave it up.
const (
	OriginTopic   = "nsqx-origin-topic"   // DeadTopic of the first dead letter
	OriginChannel = "nsqx-origin-channel" // its DeadChannel
	OriginTime    = "nsqx-origin-time"    // its DeadTime
	Redrives      = "nsqx-redrives"       // how often the message was published again, at least 1

	// RedriveChannel is the channel that the message is for, as "topic/channel": consumers of nsqx
	// finish it unhandled on any other channel of that topic.
	RedriveChannel = "nsqx-redrive-channel"
)
