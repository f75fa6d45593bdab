package nsqotel

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"
)

// instruments are all instruments of this package.
type instruments struct {
	processDuration   metric.Float64Histogram
	operationDuration metric.Float64Histogram
	consumed, sent    metric.Int64Counter

	age, queue                                   metric.Float64Histogram
	settlements, redeliveries, timeouts, touches metric.Int64Counter
	deadLetters, givenBack, drifts, renewals     metric.Int64Counter

	inFlight, maxInFlight, ready, connections metric.Int64ObservableUpDownCounter
	allowance                                 metric.Int64ObservableUpDownCounter
	active, limit                             metric.Int64ObservableUpDownCounter
	overdue, highest, backoff                 metric.Int64ObservableGauge
	oldest                                    metric.Float64ObservableGauge

	protocolErrors, attempts, closed, registration metric.Int64Counter
	lookup                                         metric.Float64Histogram
	nodes                                          metric.Int64ObservableGauge
	lookupAge                                      metric.Float64ObservableGauge

	publishing metric.Int64ObservableUpDownCounter
	skipped    metric.Int64Counter
}

// Bucket bounds, in seconds.
func durations() metric.HistogramOption {
	return metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
}

func ages() metric.HistogramOption { // up to a day
	return metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 43200, 86400)
}

func newInstruments(meter metric.Meter) (i instruments) {
	m := maker{meter}
	processDuration, err := messagingconv.NewProcessDuration(meter, durations())
	report(err)
	operationDuration, err := messagingconv.NewClientOperationDuration(meter, durations())
	report(err)
	consumed, err := messagingconv.NewClientConsumedMessages(meter)
	report(err)
	sent, err := messagingconv.NewClientSentMessages(meter)
	report(err)
	i.processDuration, i.operationDuration = processDuration.Inst(), operationDuration.Inst()
	i.consumed, i.sent = consumed.Inst(), sent.Inst()

	i.age = m.histogram(metricAge, "Age of messages at the start of the handler, from the timestamp of nsqd; of some messages if there are many.", ages())
	i.queue = m.histogram(metricQueue, "Time from the socket to the handler.", durations())
	i.settlements = m.counter(metricSettlements, unitMessages, "Messages after their handler has returned, by disposition.")
	i.redeliveries = m.counter(metricRedeliveries, unitMessages, "Messages handled that had been delivered before.")
	i.timeouts = m.counter(metricTimeouts, unitMessages, "Messages that failed after, or waited until after, their message timeout.")
	i.touches = m.counter(metricTouches, unitTouches, "TOUCH commands sent.")
	i.deadLetters = m.counter(metricDeadLetters, unitMessages, "Messages given up as dead letters.")
	i.givenBack = m.counter(metricGivenBack, unitMessages, "Messages given back to nsqd that no handler had seen.")
	i.drifts = m.counter(metricDrifts, unitDrifts, "Connections found on which nsqd counts too many messages in flight.")
	i.renewals = m.counter(metricRenewals, unitConnections, "Connections replaced because nsqd counted too many messages in flight.")

	i.inFlight = m.upDown(metricInFlight, unitMessages, "Messages received and not settled.")
	i.maxInFlight = m.upDown(metricMaxInFlight, unitMessages, "Messages that may be in flight.")
	i.ready = m.upDown(metricReady, unitMessages, "Sum of RDY over all connections.")
	i.allowance = m.upDown(metricAllowance, unitMessages, "By how much nsqd counts too many messages in flight; RDY allows for it.")
	i.connections = m.upDown(metricConnections, unitConnections, "Subscribed connections.")
	i.active = m.upDown(metricActive, unitHandlers, "Running handlers.")
	i.limit = m.upDown(metricLimit, unitHandlers, "Maximum of running handlers.")
	i.overdue = m.gauge(metricOverdue, unitHandlers, "Handlers that still run although nsqd has delivered their message elsewhere.")
	i.highest = m.gauge(metricHighest, unitAttempts, "Highest number of deliveries of a message that a handler works on; 0 if there is none.")
	i.oldest, err = meter.Float64ObservableGauge(metricOldest, metric.WithUnit(unitSeconds),
		metric.WithDescription("Age of the oldest message that a handler works on, from the timestamp of nsqd; 0 if there is none."))
	report(err)
	i.backoff, err = meter.Int64ObservableGauge(metricBackoff, metric.WithUnit(unitLevel),
		metric.WithDescription("How many times in a row the breaker has opened; 0 while it is closed."))
	report(err)

	i.protocolErrors = m.counter(metricProtocol, unitErrors, "Error frames of nsqd.")
	i.attempts = m.counter(metricAttempts, unitAttempts, "Attempts to connect to an nsqd.")
	i.closed = m.counter(metricClosed, unitConnections, "Ended connections.")
	i.lookup = m.histogram(metricLookup, "Duration of lookups in nsqlookupd.", durations())
	i.nodes, err = meter.Int64ObservableGauge(metricNodes, metric.WithUnit(unitNodes), metric.WithDescription("Addresses of nsqds in the last successful lookup."))
	report(err)
	i.lookupAge, err = meter.Float64ObservableGauge(metricLookupAge, metric.WithUnit(unitSeconds), metric.WithDescription("Time since the last successful lookup."))
	report(err)
	i.registration = m.counter(metricRegistration, unitErrors, "Registrations of topic and channel that a nsqlookupd refused or did not answer.")

	i.publishing = m.upDown(metricPublishing, unitMessages, "Messages sent to an nsqd and not confirmed yet.")
	i.skipped = m.counter(metricSkipped, unitMessages, "Messages published without headers because of their size.")
	return i
}

// observed returns the instruments that get their values from Stats when metrics are collected.
func (i *instruments) observed() []metric.Observable {
	return []metric.Observable{
		i.inFlight, i.maxInFlight, i.ready, i.connections, i.allowance, i.active, i.limit, i.overdue, i.highest, i.oldest, i.backoff,
		i.nodes, i.lookupAge, i.publishing,
	}
}

type maker struct{ metric.Meter }

func (m maker) histogram(name, text string, bounds metric.HistogramOption) metric.Float64Histogram {
	h, err := m.Float64Histogram(name, metric.WithUnit(unitSeconds), metric.WithDescription(text), bounds)
	report(err)
	return h
}

func (m maker) counter(name, unit, text string) metric.Int64Counter {
	c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
	report(err)
	return c
}

func (m maker) upDown(name, unit, text string) metric.Int64ObservableUpDownCounter {
	c, err := m.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
	report(err)
	return c
}

func (m maker) gauge(name, unit, text string) metric.Int64ObservableGauge {
	g, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(text))
	report(err)
	return g
}

// report passes an error to the error handler of OpenTelemetry. An instrument that could not be
// made measures nothing.
func report(err error) {
	if err != nil {
		otel.Handle(err)
	}
}
