package nsqx

import "github.com/nsqx/nsqx/handler"

// Telemetry observes a consumer. It may also implement hooks: see [WithHooks].
type Telemetry interface {
	// Consumer returns the middleware that observes a consumer's messages. It
	// stands outside the step that decides what nsqd hears, so that when next
	// has returned, the message's Outcome is known. nil observes nothing.
	Consumer(ConsumerInfo) handler.Middleware

	// Observe is called when a consumer begins to run. stats may be called at
	// any time until stop was. A nil stop is left out.
	Observe(stats func() Stats) (stop func())
}

// ConsumerInfo is what of a consumer never changes.
type ConsumerInfo struct {
	Topic, Channel string
	ClientID       string
	Concurrency    int
}
