package nsqotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/observe"
)

// Hooks implements [observe.Telemetry].
func (t *telemetry) Hooks() observe.Hooks {
	return observe.Hooks{
		OnConnect: t.onConnect, OnDialError: t.onDialError, OnDisconnect: t.onDisconnect,
		OnRefused: t.protocolError, OnLookup: t.onLookup, OnGivenBack: t.onGivenBack,
	}
}

func (t *telemetry) onConnect(e observe.ConnEvent) {
	t.inst.attempts.Add(context.Background(), 1, t.event(e, nil).add...)
}

func (t *telemetry) onDialError(e observe.ConnEvent) {
	t.inst.attempts.Add(context.Background(), 1, t.event(e, e.Err).add...)
	t.protocolError(e)
}

func (t *telemetry) onDisconnect(e observe.ConnEvent) {
	t.inst.closed.Add(context.Background(), 1, t.event(e, e.Err).add...)
	t.protocolError(e)
}

func (t *telemetry) onLookup(e observe.LookupEvent) {
	ctx, failure := context.Background(), e.Err
	if errors.Is(failure, observe.ErrNoTopic) {
		failure = nil // a valid answer
	}
	attrs := t.metricAttributes(t.destination(e.Topic, e.Channel), e.Source)
	t.inst.lookup.Record(ctx, e.Duration.Seconds(), t.failed(attrs, failure).record...)
}

func (t *telemetry) onGivenBack(e observe.GivenBackEvent) {
	t.givenBack(t.destination(e.Topic, e.Channel), e.Reason, e.Messages)
}

func (t *telemetry) givenBack(d destination, reason string, n int) {
	attrs := append(t.metricAttributes(d, ""), keyReason.String(reason))
	t.inst.givenBack.Add(context.Background(), int64(n), newMeasurement(attrs...).add...)
}

// protocolError counts e if its error is an error frame of nsqd.
func (t *telemetry) protocolError(e observe.ConnEvent) {
	if _, ok := errors.AsType[*conn.ServerError](e.Err); ok {
		t.inst.protocolErrors.Add(context.Background(), 1, t.event(e, e.Err).add...)
	}
}

// event returns the attributes of the metrics of an event.
func (t *telemetry) event(e observe.ConnEvent, err error) measurement {
	return t.failed(t.metricAttributes(t.destination(e.Topic, e.Channel), e.NSQD), err)
}

// failed adds the error.type of err, if err is not nil.
func (t *telemetry) failed(attrs []attribute.KeyValue, err error) measurement {
	return newMeasurement(appendText(attrs, keyErrorType, t.errors.of(err))...)
}
