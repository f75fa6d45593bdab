package nsqotel

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// The instrumentation scope.
const (
	scopeName    = "github.com/nsqx/nsqx/otel"
	scopeVersion = "0.1.0"
	schemaURL    = semconv.SchemaURL
)

// Operations. The name of a span is its operation and its topic.
const (
	publishOperation = "publish" // PUB, MPUB, DPUB; type send
	processOperation = "process" // type process
)

const systemNSQ = "nsq"

// Attributes of the semantic conventions.
const (
	keySystem        = semconv.MessagingSystemKey
	keyOperation     = semconv.MessagingOperationNameKey
	keyOperationType = semconv.MessagingOperationTypeKey
	keyTopic         = semconv.MessagingDestinationNameKey
	keyTemplate      = semconv.MessagingDestinationTemplateKey
	keyChannel       = semconv.MessagingDestinationSubscriptionNameKey
	keyClientID      = semconv.MessagingClientIDKey
	keyMessageID     = semconv.MessagingMessageIDKey
	keyBatchCount    = semconv.MessagingBatchMessageCountKey
	keyServerAddress = semconv.ServerAddressKey
	keyServerPort    = semconv.ServerPortKey
	keyErrorType     = semconv.ErrorTypeKey
)

// Attributes of NSQ.
const (
	keyAttempts     = attribute.Key("messaging.nsq.message.attempts")
	keyDisposition  = attribute.Key("messaging.nsq.message.disposition")
	keyRequeueDelay = attribute.Key("messaging.nsq.message.requeue_delay_ms")
	keyDeferDelay   = attribute.Key("messaging.nsq.message.defer_ms")
	keyReason       = attribute.Key("messaging.nsq.given_back.reason")
)

// Error types beside the codes of nsqd and the types of errors.
const (
	errorPanic     = "panic"
	errorTimeout   = "timeout"
	errorCanceled  = "canceled"
	errorDecode    = "decode_error"
	errorEnvelope  = "malformed_envelope"
	errorAttempts  = "max_attempts"
	errorStale     = "stale"
	errorNoTopic   = "topic_not_found"
	errorNoNSQD    = "no_nsqd"
	errorProtocol  = "protocol_error"
	errorOther     = "_OTHER"
	maxErrorTypes  = 64  // further ones are errorOther
	maxDescription = 256 // bytes
)

// Metrics. The package messagingconv has the names that begin with messaging.
const (
	metricAge          = "nsq.consumer.message.age"
	metricQueue        = "nsq.consumer.queue.duration"
	metricSettlements  = "nsq.consumer.settlements"
	metricRedeliveries = "nsq.consumer.redeliveries"
	metricTimeouts     = "nsq.consumer.timeouts"
	metricTouches      = "nsq.consumer.touches"
	metricDeadLetters  = "nsq.consumer.dead_letters"
	metricGivenBack    = "nsq.consumer.given_back"
	metricDrifts       = "nsq.consumer.drifts"
	metricAllowance    = "nsq.consumer.drift.allowance"
	metricRenewals     = "nsq.consumer.connection.renewals"
	metricInFlight     = "nsq.consumer.in_flight"
	metricMaxInFlight  = "nsq.consumer.max_in_flight"
	metricReady        = "nsq.consumer.ready"
	metricConnections  = "nsq.consumer.connection.count"
	metricActive       = "nsq.consumer.handler.active"
	metricLimit        = "nsq.consumer.handler.limit"
	metricOverdue      = "nsq.consumer.handler.overdue"
	metricHighest      = "nsq.consumer.handler.highest_attempt"
	metricOldest       = "nsq.consumer.handler.oldest_age"
	metricBackoff      = "nsq.consumer.backoff.level"
	metricProtocol     = "nsq.client.protocol.errors"
	metricAttempts     = "nsq.client.connection.attempts"
	metricClosed       = "nsq.client.connection.closed"
	metricLookup       = "nsq.client.lookup.duration"
	metricNodes        = "nsq.client.lookup.nodes"
	metricLookupAge    = "nsq.client.lookup.age"
	metricRegistration = "nsq.client.registration.errors"
	metricPublishing   = "nsq.producer.in_flight"
	metricSkipped      = "nsq.producer.envelope.skipped"
)

const (
	unitSeconds     = "s"
	unitMessages    = "{message}"
	unitTouches     = "{touch}"
	unitConnections = "{connection}"
	unitHandlers    = "{handler}"
	unitAttempts    = "{attempt}"
	unitErrors      = "{error}"
	unitNodes       = "{node}"
	unitDrifts      = "{drift}"
	unitLevel       = "{level}"
)
