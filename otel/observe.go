package nsqotel

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/metric"

	"github.com/nsqx/nsqx"
)

// observed is a running consumer.
type observed struct {
	*telemetry
	stats func() nsqx.Stats
	dest  destination

	mu      sync.Mutex // held in count: a call of stats must not overtake another
	expired uint64
	touched map[string]uint64 // by address
}

// Observe implements [observe.Telemetry].
func (t *telemetry) Observe(stats func() nsqx.Stats) (stop func()) {
	s := stats()
	o := &observed{telemetry: t, stats: stats, dest: t.destination(s.Topic, s.Channel)}
	t.mu.Lock()
	t.consumers[o] = struct{}{}
	t.mu.Unlock()
	return func() {
		t.mu.Lock()
		delete(t.consumers, o)
		t.mu.Unlock()
		o.count(context.Background()) // what has happened since the last collection
	}
}

// level is the state of the connections to one nsqd, or to all nsqds.
type level struct{ inFlight, ready, connections int64 }

func (o *observed) observe(ctx context.Context, observer metric.Observer) {
	s := o.count(ctx)
	levels := map[string]level{"": {}}
	for _, c := range s.Connections {
		l := levels[o.server(c.Addr)]
		l.inFlight += int64(c.InFlight)
		l.ready += int64(c.RDY)
		if c.Connected {
			l.connections++
		}
		levels[o.server(c.Addr)] = l
	}
	if o.cfg.metricServer {
		delete(levels, "")
	}
	i := &o.inst
	for addr, l := range levels {
		at := newMeasurement(o.metricAttributes(o.dest, addr)...).observe
		observer.ObserveInt64(i.inFlight, l.inFlight, at...)
		observer.ObserveInt64(i.ready, l.ready, at...)
		observer.ObserveInt64(i.connections, l.connections, at...)
	}
	all := newMeasurement(o.metricAttributes(o.dest, "")...).observe
	observer.ObserveInt64(i.maxInFlight, int64(s.MaxInFlight), all...)
	observer.ObserveInt64(i.active, int64(s.Running), all...)
	observer.ObserveInt64(i.limit, int64(s.Concurrency), all...)
	observer.ObserveInt64(i.overdue, int64(s.Overdue), all...)
	observer.ObserveInt64(i.highest, int64(s.HighestAttempt), all...)
	observer.ObserveFloat64(i.oldest, s.OldestAge.Seconds(), all...)
	observer.ObserveInt64(i.backoff, int64(s.BackoffLevel), all...)
}

// server returns addr if metrics have the address of the nsqd, else "".
func (t *telemetry) server(addr string) string {
	if t.cfg.metricServer {
		return addr
	}
	return ""
}

// count adds the increase of Stats since the last call to the counters.
func (o *observed) count(ctx context.Context) nsqx.Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats()
	o.add(ctx, o.inst.timeouts, s.Expired-o.expired, "")
	o.expired = s.Expired
	touched := make(map[string]uint64, len(s.Connections))
	for _, c := range s.Connections {
		before := o.touched[c.Addr]
		if before > c.Touched {
			before = 0 // the address was removed and found again
		}
		o.add(ctx, o.inst.touches, c.Touched-before, c.Addr)
		touched[c.Addr] = c.Touched
	}
	o.touched = touched
	return s
}

func (o *observed) add(ctx context.Context, counter metric.Int64Counter, n uint64, nsqd string) {
	if n > 0 {
		counter.Add(ctx, int64(n), newMeasurement(o.metricAttributes(o.dest, nsqd)...).add...)
	}
}

// observedPublisher is an open publisher.
type observedPublisher struct {
	*telemetry
	stats func() nsqx.PublisherStats
	at    measurement

	mu      sync.Mutex // held in count: a call of stats must not overtake another
	skipped uint64
}

// ObservePublisher implements [observe.Telemetry].
func (t *telemetry) ObservePublisher(stats func() nsqx.PublisherStats) (stop func()) {
	o := &observedPublisher{telemetry: t, stats: stats, at: newMeasurement(t.metricAttributes(destination{}, "")...)}
	t.mu.Lock()
	t.publishers[o] = struct{}{}
	t.mu.Unlock()
	return func() {
		t.mu.Lock()
		delete(t.publishers, o)
		t.mu.Unlock()
		o.count(context.Background()) // what has happened since the last collection
	}
}

func (o *observedPublisher) observe(ctx context.Context, observer metric.Observer) {
	s := o.count(ctx)
	observer.ObserveInt64(o.inst.publishing, int64(s.InFlight), o.at.observe...)
}

// count adds the increase of Stats since the last call to the counters.
func (o *observedPublisher) count(ctx context.Context) nsqx.PublisherStats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats()
	if n := s.EnvelopesSkipped - o.skipped; n > 0 {
		o.inst.skipped.Add(ctx, int64(n), o.at.add...)
	}
	o.skipped = s.EnvelopesSkipped
	return s
}
