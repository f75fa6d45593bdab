package nsqotel

import (
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/nsqx/nsqx/observe"
)

// lookups observes the lookups of a consumer or a publisher.
type lookups struct {
	telemetry *telemetry
	dest      destination
	since     time.Time // when the service started
}

// answer is the last answer of a source of nsqds, or the answers of all together.
type answer struct {
	nodes    int
	answered bool
	age      time.Duration // of the oldest answer
}

// observe observes each source, or the most nodes and the oldest answer of all. A source that has not
// answered yet is as old as the service.
func (l lookups) observe(observer metric.Observer, all []observe.LookupStats) {
	t, byAddr := l.telemetry, make(map[string]answer)
	for _, s := range all {
		a := byAddr[t.server(s.Name)]
		good := s.LastGood
		if good.IsZero() {
			good = l.since
		} else {
			a.answered, a.nodes = true, max(a.nodes, s.Found)
		}
		a.age = max(a.age, time.Since(good))
		byAddr[t.server(s.Name)] = a
	}
	for addr, a := range byAddr {
		at := newMeasurement(t.metricAttributes(l.dest, addr)...).observe
		observer.ObserveFloat64(t.inst.lookupAge, a.age.Seconds(), at...)
		if a.answered {
			observer.ObserveInt64(t.inst.nodes, int64(a.nodes), at...)
		}
	}
}
