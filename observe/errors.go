package observe

import "errors"

// ErrNoTopic is the Err of a [LookupEvent] if no nsqd known to the nsqlookupd has the topic, which
// is created by its first message.
var ErrNoTopic = errors.New("nsqx: topic not found")

// Errors of Healthy, alone or wrapped.
var (
	ErrNotRunning = errors.New("nsqx: the consumer does not run, or is ending")
	ErrNoNSQD     = errors.New("nsqx: no nsqd can be reached")
	ErrStuck      = errors.New("nsqx: no handler returns: nsqd has given all their messages to others")
)
