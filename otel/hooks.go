package nsqotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
)

// OnConnect implements [nsqx.ConnectHook].
func (t *telemetry) OnConnect(e nsqx.ConnEvent) {
	t.inst.attempts.Add(context.Background(), 1, t.event(e, nil).add...)
}

// OnDialError implements [nsqx.DialErrorHook].
func (t *telemetry) OnDialError(e nsqx.ConnEvent) {
	t.inst.attempts.Add(context.Background(), 1, t.event(e, e.Err).add...)
	t.protocolError(e)
}

// OnDisconnect implements [nsqx.DisconnectHook].
func (t *telemetry) OnDisconnect(e nsqx.ConnEvent) {
	t.inst.closed.Add(context.Background(), 1, t.event(e, e.Err).add...)
	t.protocolError(e)
}

// OnRefused implements [nsqx.RefusedHook].
func (t *telemetry) OnRefused(e nsqx.ConnEvent) { t.protocolError(e) }

// OnLookup implements [nsqx.LookupHook].
func (t *telemetry) OnLookup(e nsqx.LookupEvent) {
	ctx, failure := context.Background(), e.Err
	if errors.Is(failure, nsqx.ErrNoTopic) {
		failure = nil // a valid answer
	}
	attrs := t.metricAttributes(t.destination(e.Topic, e.Channel), e.Source)
	t.inst.lookup.Record(ctx, e.Duration.Seconds(), t.failed(attrs, failure).record...)
	if failure == nil || e.Found > 0 {
		t.inst.nodes.Record(ctx, int64(e.Found), newMeasurement(attrs...).record...)
	}
}

// protocolError counts e if its error is an error frame of nsqd.
func (t *telemetry) protocolError(e nsqx.ConnEvent) {
	if _, ok := errors.AsType[*conn.ServerError](e.Err); ok {
		t.inst.protocolErrors.Add(context.Background(), 1, t.event(e, e.Err).add...)
	}
}

// event returns the attributes of the metrics of an event.
func (t *telemetry) event(e nsqx.ConnEvent, err error) measurement {
	return t.failed(t.metricAttributes(t.destination(e.Topic, e.Channel), e.NSQD), err)
}

// failed adds the error.type of err, if err is not nil.
func (t *telemetry) failed(attrs []attribute.KeyValue, err error) measurement {
	return newMeasurement(appendText(attrs, keyErrorType, t.errors.of(err))...)
}
