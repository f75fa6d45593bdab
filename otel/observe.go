package nsqotel

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/nsqx/nsqx"
)

// observed is a running consumer.
type observed struct {
	*telemetry
	stats func() nsqx.Stats
	dest  destination
	found lookups

	mu      sync.Mutex // held in count: a call of stats must not overtake another
	started bool       // metrics were collected once
	last    map[total]uint64
}

// total identifies a counter of Stats that becomes a counter of metrics.
type total struct {
	counter *metric.Int64Counter
	addr    string // of an nsqd, or the name of a source of nsqds; "" for none
}

// Observe implements [observe.Telemetry].
func (t *telemetry) Observe(stats func() nsqx.Stats) (stop func()) {
	s := stats()
	o := &observed{telemetry: t, stats: stats, dest: t.destination(s.Topic, s.Channel)}
	o.found = lookups{t, o.dest, time.Now()}
	for _, reason := range []string{"stall", "overflow", "suspended"} {
		t.givenBack(o.dest, reason, 0)
	}
	t.mu.Lock()
	t.consumers[o] = struct{}{}
	t.mu.Unlock()
	return func() {
		t.mu.Lock()
		delete(t.consumers, o)
		t.mu.Unlock()
		o.count(context.Background(), true) // what has happened since the last collection
	}
}

// level is the state of the connections to one nsqd, or to all nsqds.
type level struct{ inFlight, ready, allowance, connections int64 }

func (o *observed) observe(ctx context.Context, observer metric.Observer) {
	s := o.count(ctx, false)
	levels := map[string]level{"": {}}
	for _, c := range s.Connections {
		l := levels[o.server(c.Addr)]
		l.inFlight += int64(c.InFlight)
		l.ready += int64(c.RDY)
		l.allowance += int64(c.Allowance)
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
		observer.ObserveInt64(i.allowance, l.allowance, at...)
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
	o.found.observe(observer, s.Lookups)
}

// server returns addr if metrics have the address of the nsqd, else "".
func (t *telemetry) server(addr string) string {
	if t.cfg.metricServer {
		return addr
	}
	return ""
}

// count adds the increase of Stats since the last call to the counters. The first collection adds 0:
// then a backend sees a counter rise with its first event, even if that was before the collection.
// end is true for the last call, which adds everything.
func (o *observed) count(ctx context.Context, end bool) nsqx.Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats()
	now := o.totals(s)
	for t, n := range now {
		before, known := o.last[t]
		switch {
		case before > n:
			before = 0 // the address was removed and found again
		case before == n && known:
			continue
		}
		if !o.started && !end {
			n, now[t] = 0, 0
		}
		(*t.counter).Add(ctx, int64(n-before), newMeasurement(o.metricAttributes(o.dest, t.addr)...).add...)
	}
	o.started, o.last = true, now
	return s
}

func (o *observed) totals(s nsqx.Stats) map[total]uint64 {
	i := &o.inst
	all := map[total]uint64{{&i.timeouts, ""}: s.Expired, {&i.deadLetters, ""}: s.DeadLettered}
	for _, c := range s.Connections {
		all[total{&i.touches, c.Addr}] = c.Touched
		all[total{&i.drifts, c.Addr}] = c.Drifted
		all[total{&i.renewals, c.Addr}] = c.Renewed
	}
	for _, l := range s.Lookups {
		all[total{&i.registration, l.Name}] += l.RegisterErrors
	}
	return all
}

// observedPublisher is an open publisher.
type observedPublisher struct {
	*telemetry
	stats func() nsqx.PublisherStats
	at    measurement
	found lookups

	mu      sync.Mutex // held in count: a call of stats must not overtake another
	skipped uint64
}

// ObservePublisher implements [observe.Telemetry].
func (t *telemetry) ObservePublisher(stats func() nsqx.PublisherStats) (stop func()) {
	o := &observedPublisher{telemetry: t, stats: stats, at: newMeasurement(t.metricAttributes(destination{}, "")...)}
	o.found = lookups{t, destination{}, time.Now()}
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
	o.found.observe(observer, s.Lookups)
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
