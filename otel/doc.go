// Package nsqotel is OpenTelemetry for package nsqx: spans and metrics of consumers, producers and
// publishers. One trace leads from the publish of a message to its handler, and from there to its
// dead letter.
//
//	tel := nsqotel.New()
//	nsqx.NewConsumer("orders", "billing", codec.JSON[Order](), bill, nsqx.WithTelemetry(tel), …)
//	nsqx.NewProducer("orders", codec.JSON[Order](), nsqx.WithTelemetry(tel), nsqx.WithEnvelope(), …)
//
// Use it if your service exports traces or metrics with OpenTelemetry. Without OpenTelemetry, use
// the hooks and Stats of package nsqx.
//
// # Five things to know
//
//  1. The package needs only the API of OpenTelemetry. The service brings the SDK; without an SDK
//     nothing is recorded. A service links OpenTelemetry only if it imports this package.
//  2. One [New] serves a whole service. It uses the global providers and propagator, even if they
//     are set later, unless options name others.
//  3. A trace needs headers. NSQ has none, so the producer needs [nsqx.WithEnvelope], and all
//     consumers of the topic must be able to read envelopes. It also needs a propagator; see
//     [WithPropagators].
//  4. Headers are input. Whoever can publish to a topic can choose the trace: use [WithLinkOnly]
//     if you do not trust the producers.
//  5. Names follow the semantic conventions for messaging, version 1.43.0, which are not stable
//     yet. Names with nsq in them are those of this package.
//
// # Spans
//
//	name               kind       attributes in addition to the common ones
//	publish <topic>    producer   messaging.batch.message_count of an MPUB, messaging.nsq.message.defer_ms of a DPUB
//	process <topic>    consumer   messaging.message.id, messaging.nsq.message.attempts, .disposition, .requeue_delay_ms
//
// The common attributes are messaging.system (nsq), messaging.operation.name and .type,
// messaging.destination.name (the topic), messaging.destination.subscription.name (the channel),
// messaging.client.id if configured, server.address and server.port, and error.type of a failure.
//
// A process span ends when the disposition of the message is known and a dead letter is published;
// that publish is its child. The span is a child of the producer's span and has a link to it; see
// [WithLinkOnly]. There is no span for the FIN, since nsqd does not answer it.
//
// A span gets its attributes after its start, and only if it is recorded: samplers decide by its
// name, kind and links, or see [WithSamplerAttributes].
//
// The status is Error, with the first 256 bytes of the error text, if the handler or the publish
// failed, and otherwise unset. A handler that only asks for a later delivery (retry.After with a
// nil error) has not failed.
//
// # Metrics
//
//	messaging.process.duration                     s       operation, error.type
//	messaging.client.consumed.messages             count   operation, error.type
//	messaging.client.sent.messages                 count   operation, error.type
//	messaging.client.operation.duration            s       publish; operation and its type, error.type
//	nsq.consumer.message.age                       s       from the timestamp of nsqd to the handler, of 100 messages a second; see WithEveryAge
//	nsq.consumer.queue.duration                    s       from the socket to the handler; only with WithQueueDuration
//	nsq.consumer.settlements                       count   after a handler; disposition, error.type
//	nsq.consumer.dead_letters                      count   the same as in settlements, of all error types together
//	nsq.consumer.given_back                        count   to nsqd, and not handled; messaging.nsq.given_back.reason (stall, overflow, suspended)
//	nsq.consumer.redeliveries                      count   handled, and delivered before
//	nsq.consumer.timeouts                          count   failed after, or waited until after, the message timeout
//	nsq.consumer.touches                           count   TOUCH
//	nsq.consumer.in_flight, .max_in_flight         level   messages
//	nsq.consumer.ready                             level   RDY, all connections
//	nsq.consumer.drifts                            count   nsqd was found to count too many messages in flight
//	nsq.consumer.drift.allowance                   level   by how much it does, as far as is known
//	nsq.consumer.connection.count                  level
//	nsq.consumer.connection.renewals               count   connections replaced because of that count
//	nsq.consumer.handler.active, .handler.limit    level
//	nsq.consumer.handler.overdue                   level   handlers whose message nsqd has delivered elsewhere
//	nsq.consumer.handler.highest_attempt           level   of the messages that handlers work on
//	nsq.consumer.handler.oldest_age                s       of the messages that handlers work on
//	nsq.consumer.backoff.level                     level   how often in a row the breaker has opened; 0 while it is closed
//	nsq.client.protocol.errors                     count   error.type
//	nsq.client.connection.attempts, .closed        count   error.type
//	nsq.client.lookup.duration                     s       error.type
//	nsq.client.lookup.nodes                        level   in the last successful lookup
//	nsq.client.lookup.age                          s       since the last successful lookup, or the start of the service
//	nsq.client.registration.errors                 count   topic and channel are not registered at a nsqlookupd
//	nsq.producer.in_flight                         level   messages not confirmed yet
//	nsq.producer.envelope.skipped                  count   messages published without headers because of their size
//
// All metrics have messaging.system, and the topic and channel that they are about; none has a
// message id. With [WithServerAddress], metrics about one nsqd have its address. Durations are
// recorded in the context of their span, so exemplars lead to traces.
//
// Without that option, lookup.nodes is that of the source with the most nodes, and lookup.age that of
// the source that has not answered for the longest time. A topic that no nsqd has yet is a successful
// lookup with 0 nodes.
//
// Levels, and counters that are not about single messages or events, come from [nsqx.Stats] when
// metrics are collected; counters are also updated when a consumer ends. The first collection after
// the start of a consumer reports 0 for them, and the next one what has happened before, so that the
// first dead letter is a rise that a backend can see. Finished messages are counted when metrics are
// collected, too.
//
// nsq.consumer.ready is what nsqadmin calls the ready count. nsqd may deliver nothing although it is
// above 0: compare nsq.consumer.drift.allowance, which is by how much nsqd's own count of messages in
// flight is too high. And it may be 0 or 1 for good reasons: compare nsq.consumer.backoff.level,
// .handler.active and .in_flight.
//
// # Error types
//
// Spans and metrics have the same error.type:
//
//	panic                 the handler, a middleware or the codec panicked or called runtime.Goexit
//	malformed_envelope    the headers cannot be read
//	decode_error          the payload cannot be decoded
//	E_…                   the error code of nsqd
//	topic_not_found       no nsqd has the topic yet: it is created by its first message
//	no_nsqd               no nsqd is connected
//	protocol_error        nsqd or nsqlookupd sent what the protocol does not allow
//	404, 503, …           the HTTP status of a nsqlookupd
//	max_attempts          dead-lettered at the last attempt, for an error without a type of its own, or unhandled
//	stale                 not handled, since it had expired or was too old
//	timeout               a deadline of a context, including the message timeout
//	canceled              a cancelled context, also by a shutdown or a lost connection
//	_OTHER                any other error after 64 different ones
//
// Any other error has the result of its ErrorType() string method, or its Go type, without the
// wrappers of fmt, package retry and package nsqx.
//
// # Costs
//
// Without an SDK a message costs 0.2 µs and one allocation, for the context of
// the span. With the SDK, version 1.47.0, the rest of the cost is the SDK's:
//
//   - A record of a histogram costs 0.3 µs, more if several goroutines record. Half of that is a walk
//     over the attributes, each time anew, in search of maps with duplicate keys. A message has one
//     record, of messaging.process.duration. That is why other histograms have options, and why ages
//     are recorded of some messages. Attributes of [WithMetricAttributes] make each record dearer; the
//     attributes of a resource cost nothing. The API can neither bind attributes to an instrument nor
//     record several values at once, so this package cannot do better.
//   - A span that is not sampled costs 0.3 µs. [WithSamplerAttributes] adds 0.2 µs and 450 bytes,
//     since each start copies the attributes that it is given. A sampled span costs 3 to 4 µs.
//     [WithFilter] avoids all of it for messages that need no trace.
//   - Counters cost little: finished messages are counted here, and added when metrics are collected.
//     The SDK keeps each set of attributes for ever: with [WithServerAddress], nsqds that have gone
//     count towards its limit of 2000 sets a metric.
//
// Topics, channels and nsqds that come and go cost memory for at most twice as many as are in use, or
// 1024.
package nsqotel
