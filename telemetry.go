package nsqx

import "github.com/nsqx/nsqx/handler"

// Telemetry observes consumers and producers; one value serves any number of
// them. It may also implement hooks (see [WithHooks]) and [PublisherObserver].
type Telemetry interface {
	// Consumer returns the middleware that observes a consumer's messages. It
	// stands outside the step that decides what nsqd hears, so that when next
	// has returned, the message's Outcome is known. nil observes nothing.
	Consumer(ConsumerInfo) handler.Middleware

	// Producer returns the middleware that observes what is published: by a
	// producer, by a publisher itself, or by a consumer, its dead letters. It
	// stands outside the user's. nil observes nothing.
	Producer(ProducerInfo) handler.SendMiddleware

	// Observe is called when a consumer begins to run. stats may be called at
	// any time until stop was. A nil stop is left out.
	Observe(stats func() Stats) (stop func())
}

// PublisherObserver is a [Telemetry] that looks at publishers, too.
type PublisherObserver interface {
	// ObservePublisher is called when a publisher is made. stats may be called at
	// any time until stop was, which is when the publisher is closed. A nil stop is
	// left out.
	ObservePublisher(stats func() PublisherStats) (stop func())
}

// ConsumerInfo is what of a consumer never changes.
type ConsumerInfo struct {
	Topic, Channel string
	ClientID       string
	Concurrency    int
	MaxAttempts    int // 0: unlimited
}

// ProducerInfo is what of a producer never changes.
type ProducerInfo struct {
	Topic    string // "" of a publisher itself: any
	ClientID string
}
