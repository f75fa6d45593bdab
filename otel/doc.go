// Package nsqotel is OpenTelemetry for package nsqx: spans and metrics of
// consumers, producers and publishers, and traces that go on from the publish of
// a message into its handler, and from there to its dead letter.
//
//	tel := nsqotel.New()
//	nsqx.NewConsumer("orders", "billing", codec.JSON[Order](), bill, nsqx.WithTelemetry(tel), …)
//	nsqx.NewProducer("orders", codec.JSON[Order](), nsqx.WithTelemetry(tel), nsqx.WithEnvelope(), …)
//
// It needs the API of OpenTelemetry only; a service that does not import this
// package links nothing of it. Names follow the semantic conventions for
// messaging, version 1.43.0, which are not stable yet.
//
// # Spans
//
//	name               kind       attributes beside the common ones
//	publish <topic>    producer   messaging.batch.message_count of an MPUB, messaging.nsq.message.defer_ms of a DPUB
//	process <topic>    consumer   messaging.message.id, messaging.nsq.message.attempts, .disposition, .requeue_delay_ms
//
// Common are messaging.system (nsq), messaging.operation.name and .type,
// messaging.destination.name (the topic), messaging.destination.subscription.name
// (the channel), messaging.client.id if one is configured, server.address and
// server.port, and error.type of what failed.
//
// A process span lasts until it is decided what nsqd hears, and a dead letter is
// published: that publish is its child. It is itself a child of the producer's
// span, and has a link to it; see [WithLinkOnly]. This takes a producer with
// [nsqx.WithEnvelope], since NSQ has no headers, and a propagator; see
// [WithPropagators]. Headers are input: whoever can publish to a topic can choose
// the trace. Settling has no span, since nsqd does not answer a FIN.
//
// The status is Error, with the first 256 bytes of the error's text, if the
// handler or the publish failed, and unset otherwise. A message that asks to come
// later (retry.After with a nil error) has not failed.
//
// # Metrics
//
//	messaging.process.duration                     s       operation, error.type
//	messaging.client.consumed.messages             count   operation, error.type
//	messaging.client.sent.messages                 count   operation, error.type
//	messaging.client.operation.duration            s       publish; operation and its type, error.type
//	nsq.consumer.message.age                       s       from nsqd's timestamp to the handler
//	nsq.consumer.queue.duration                    s       from the socket to the handler
//	nsq.consumer.settlements                       count   after a handler; disposition, error.type
//	nsq.consumer.redeliveries                      count   handled, and delivered before
//	nsq.consumer.timeouts                          count   failed, or waited, beyond the message timeout
//	nsq.consumer.touches                           count   TOUCH
//	nsq.consumer.in_flight, .max_in_flight         level   messages
//	nsq.consumer.ready                             level   RDY, all connections
//	nsq.consumer.connection.count                  level
//	nsq.consumer.handler.active, .handler.limit    level
//	nsq.consumer.backoff.level                     level   1 while nearly all messages fail, else 0
//	nsq.client.protocol.errors                     count   error.type
//	nsq.client.connection.attempts, .closed        count   error.type
//	nsq.client.lookup.duration                     s       error.type
//	nsq.client.lookup.nodes                        level   in the last good answer
//	nsq.producer.in_flight                         level   messages that nsqd has not confirmed yet
//	nsq.producer.envelope.skipped                  count   messages published without headers, for their size
//
// All have messaging.system, and topic and channel where they are about one; ids
// of messages are on none. Those that are about one nsqd say which with
// [WithServerAddress]. Durations are recorded under their span, so that exemplars
// lead to a trace. What [nsqx.Stats] know (levels, timeouts, touches) is taken
// over when metrics are collected, and counters once more when the consumer has
// ended; messages that were finished are told to their counters then, too.
//
// # Error types
//
// error.type is the same on spans and metrics:
//
//	panic                 the handler, a middleware or the codec panicked, or ended its goroutine
//	malformed_envelope    the headers cannot be read
//	decode_error          the payload cannot be decoded
//	E_…                   nsqd's code, as it is
//	max_attempts          dead-lettered for its attempts, by an error without a type of its own, or unhandled
//	timeout               a context's deadline, the message timeout included
//	canceled              a context's end, also for the shutdown or a lost connection
//	_OTHER                anything else, when there are 64 others already
//
// Any other error has the name that its ErrorType() string method returns, or its
// Go type, without what fmt, package retry and package nsqx have wrapped around
// it.
//
// # Costs
//
// Without an SDK a message costs little more than 0.1 µs, and one allocation, for
// the context of the span. Metrics add three records of a histogram and no
// allocation.
package nsqotel
