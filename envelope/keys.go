package envelope

// Keys of the headers that nsqx adds to a dead letter. The headers of the message stay.
const (
	DeadTopic    = "nsqx-dlq-topic"    // topic from which the message was consumed
	DeadChannel  = "nsqx-dlq-channel"  // channel of that topic
	DeadID       = "nsqx-dlq-id"       // id of the message in that channel
	DeadAttempts = "nsqx-dlq-attempts" // number of deliveries
	DeadError    = "nsqx-dlq-error"    // first 512 bytes of the error
	DeadTime     = "nsqx-dlq-time"     // time of giving up, in RFC 3339

	OriginTrace = "nsqx-origin-traceparent" // traceparent of the original message
)

// DeadKeys returns all of the keys above, which make a message a dead letter.
func DeadKeys() []string {
	return []string{DeadTopic, DeadChannel, DeadID, DeadAttempts, DeadError, DeadTime, OriginTrace}
}
