package observe

import "github.com/nsqx/nsqx/handler"

// Telemetry observes consumers, producers and publishers; one value serves any number of them. Its
// methods are called when a service is made or starts, not for each message.
//
// Embed [NoTelemetry] to implement a part, and to stay compatible when the interface grows.
type Telemetry interface {
	// Consumer returns the middleware that observes a consumer's messages. It wraps the step that
	// decides what nsqd is told, so after next has returned the message's Outcome is known. It may
	// return nil.
	Consumer(ConsumerInfo) handler.Middleware

	// Batch is Consumer for a consumer whose handler takes batches. It may return nil.
	Batch(ConsumerInfo) handler.BatchMiddleware

	// Producer returns the middleware that observes publishes: of a producer, of a publisher
	// itself, or of a consumer's dead letters. It wraps the user's middleware. It may return nil. A
	// dead letter, and a message of nsqx.Redrive, counts as published only if the middleware calls
	// next, with the values of its ctx.
	Producer(ProducerInfo) handler.SendMiddleware

	// Hooks returns the functions to call for each service.
	Hooks() Hooks

	// Observe is called when a consumer starts to run. stats may be called until stop is. stop may
	// be nil.
	Observe(stats func() Stats) (stop func())

	// ObservePublisher is called when a publisher is made. stats may be called until stop is, when
	// the publisher is closed. stop may be nil.
	ObservePublisher(stats func() PublisherStats) (stop func())
}

// ConsumerInfo are the constants of a consumer.
type ConsumerInfo struct {
	Topic, Channel string
	ClientID       string
	Concurrency    int // at the start
	MaxAttempts    int // 0: unlimited
}

// ProducerInfo are the constants of a producer.
type ProducerInfo struct {
	Topic    string // "" for a publisher itself, which publishes to any
	ClientID string
}

// NoTelemetry observes nothing.
type NoTelemetry struct{}

var _ Telemetry = NoTelemetry{}

// Consumer returns nil.
func (NoTelemetry) Consumer(ConsumerInfo) handler.Middleware { return nil }

// Batch returns nil.
func (NoTelemetry) Batch(ConsumerInfo) handler.BatchMiddleware { return nil }

// Producer returns nil.
func (NoTelemetry) Producer(ProducerInfo) handler.SendMiddleware { return nil }

// Hooks returns the zero Hooks.
func (NoTelemetry) Hooks() Hooks { return Hooks{} }

// Observe returns nil.
func (NoTelemetry) Observe(func() Stats) (stop func()) { return nil }

// ObservePublisher returns nil.
func (NoTelemetry) ObservePublisher(func() PublisherStats) (stop func()) { return nil }
