package envelope

// Keys that nsqx sets in the headers of a dead letter, beside those that the message came with.
const (
	DeadTopic    = "nsqx-dlq-topic"    // where it was consumed
	DeadChannel  = "nsqx-dlq-channel"  // by whom
	DeadID       = "nsqx-dlq-id"       // which id it had there
	DeadAttempts = "nsqx-dlq-attempts" // how many deliveries it had
	DeadError    = "nsqx-dlq-error"    // why it was given up: the first 512 bytes of the error
	DeadTime     = "nsqx-dlq-time"     // when, as RFC 3339

	OriginTrace = "nsqx-origin-traceparent" // the traceparent that the message came with
)

// DeadKeys returns the keys that make a message a dead letter, all of the above.
func DeadKeys() []string {
	return []string{DeadTopic, DeadChannel, DeadID, DeadAttempts, DeadError, DeadTime, OriginTrace}
}
