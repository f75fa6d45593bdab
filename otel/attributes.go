package nsqotel

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// destination is the topic and channel of messages.
type destination struct {
	topic, channel string
	template       string // "" if the topic has none
}

func (t *telemetry) destination(topic, channel string) destination {
	d := destination{topic: topic, channel: channel}
	if t.cfg.template != nil && topic != "" {
		d.template = t.cfg.template(topic)
	}
	return d
}

// spanName joins the operation and the topic or its template.
func (d destination) spanName(operation string) string {
	switch {
	case d.template != "":
		return operation + " " + d.template
	case d.topic != "":
		return operation + " " + d.topic
	}
	return operation
}

// spanAttributes returns the attributes of all spans of an operation.
func (t *telemetry) spanAttributes(d destination, operation string, kind attribute.KeyValue, clientID string) []attribute.KeyValue {
	attrs := []attribute.KeyValue{keySystem.String(systemNSQ), keyOperation.String(operation), kind}
	attrs = appendText(attrs, keyTopic, d.topic)
	attrs = appendText(attrs, keyTemplate, d.template)
	attrs = appendText(attrs, keyChannel, d.channel)
	attrs = appendText(attrs, keyClientID, clientID)
	return slices.Clip(append(attrs, t.cfg.spanAttrs...))
}

// metricAttributes returns the attributes of all metrics of a destination. nsqd is "" for metrics
// about no nsqd or about several.
func (t *telemetry) metricAttributes(d destination, nsqd string) []attribute.KeyValue {
	attrs := []attribute.KeyValue{keySystem.String(systemNSQ)}
	if d.template != "" {
		attrs = append(attrs, keyTemplate.String(d.template))
	} else {
		attrs = appendText(attrs, keyTopic, d.topic)
	}
	attrs = appendText(attrs, keyChannel, d.channel)
	if t.cfg.metricServer {
		attrs = appendServer(attrs, nsqd)
	}
	return slices.Clip(append(attrs, t.cfg.metricAttrs...))
}

func appendText(attrs []attribute.KeyValue, key attribute.Key, value string) []attribute.KeyValue {
	if value == "" {
		return attrs
	}
	return append(attrs, key.String(value))
}

// appendServer appends the parts of an address, host:port or unix:///path, or nothing if addr is
// neither.
func appendServer(attrs []attribute.KeyValue, addr string) []attribute.KeyValue {
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		return append(attrs, keyServerAddress.String(path))
	}
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return attrs
	}
	attrs = append(attrs, keyServerAddress.String(host))
	if port, err := strconv.Atoi(text); err == nil {
		attrs = append(attrs, keyServerPort.Int(port))
	}
	return attrs
}

// measurement is a set of attributes as options for every kind of instrument.
type measurement struct {
	record  []metric.RecordOption
	add     []metric.AddOption
	observe []metric.ObserveOption
}

func newMeasurement(attrs ...attribute.KeyValue) measurement {
	set := metric.WithAttributeSet(attribute.NewSet(slices.Clone(attrs)...)) // NewSet sorts in place
	return measurement{[]metric.RecordOption{set}, []metric.AddOption{set}, []metric.ObserveOption{set}}
}
