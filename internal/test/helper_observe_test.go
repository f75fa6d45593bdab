package test

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
)

// logbook is a slog.Handler that keeps the records.
type logbook struct {
	mu       sync.Mutex
	records  []slog.Record
	onRecord func(slog.Record) // called for each, if not nil
}

// countAttrs returns how many records contain text and have attributes of all these values.
func (b *logbook) countAttrs(text string, values ...string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records {
		found := 0
		r.Attrs(func(a slog.Attr) bool {
			for _, v := range values {
				if a.Value.String() == v {
					found++
				}
			}
			return true
		})
		if strings.Contains(r.Message, text) && found == len(values) {
			n++
		}
	}
	return n
}

func (b *logbook) Enabled(context.Context, slog.Level) bool { return true }

func (b *logbook) WithAttrs([]slog.Attr) slog.Handler { return b }

func (b *logbook) WithGroup(string) slog.Handler { return b }

func (b *logbook) Handle(_ context.Context, r slog.Record) error {
	b.mu.Lock()
	b.records = append(b.records, r.Clone())
	b.mu.Unlock()
	if b.onRecord != nil {
		b.onRecord(r)
	}
	return nil
}

// count returns how many records of a level contain text.
func (b *logbook) count(level slog.Level, text string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records {
		if r.Level == level && strings.Contains(r.Message, text) {
			n++
		}
	}
	return n
}

// events records the events of connections.
type events struct {
	onEvent func(event) // called for each, if not nil
	list    synced[event]
}

type event struct {
	what string
	observe.ConnEvent
}

func (h *events) hooks() observe.Hooks {
	adds := func(what string) func(observe.ConnEvent) { return func(ev observe.ConnEvent) { h.add(what, ev) } }
	return observe.Hooks{
		OnConnect: adds("connect"), OnDisconnect: adds("disconnect"), OnDialError: adds("dial error"), OnRefused: adds("refused"),
	}
}

func (h *events) add(what string, ev observe.ConnEvent) {
	h.list.add(event{what, ev})
	if h.onEvent != nil {
		h.onEvent(event{what, ev})
	}
}

func (h *events) all() []event { return h.list.all() }

func (h *events) names() string {
	var names []string
	for _, ev := range h.all() {
		names = append(names, ev.what)
	}
	return strings.Join(names, ", ")
}

// settleEvents records the calls of OnSettle.
type settleEvents struct {
	onSettle func(*handler.Message) // called for each, if not nil
	list     synced[settleEvent]
}

type settleEvent struct {
	id   string
	body string
	out  handler.Outcome
}

func (h *settleEvents) OnSettle(m *handler.Message) {
	h.list.add(settleEvent{strings.TrimLeft(m.ID.String(), "0"), string(m.Body), m.Outcome()})
	if h.onSettle != nil {
		h.onSettle(m)
	}
}

func (h *settleEvents) hooks() observe.Hooks { return observe.Hooks{OnSettle: h.OnSettle} }

func (h *settleEvents) all() []settleEvent { return h.list.all() }

// tracer is telemetry that sets headers on publishes.
type tracer struct {
	observe.NoTelemetry
	headers []string
}

func (tr tracer) Producer(observe.ProducerInfo) handler.SendMiddleware {
	return func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			for i := 0; i < len(tr.headers) && out.Envelope; i += 2 {
				_ = out.Headers.Set(tr.headers[i], tr.headers[i+1])
			}
			return next(ctx, out)
		}
	}
}

// trackedContext reports when a context derived from it is released.
type trackedContext struct {
	context.Context
	stopped func(n int) // called for the nth release
	n       int
}

func (c *trackedContext) Value(any) any { return nil } // so that context uses AfterFunc

func (c *trackedContext) AfterFunc(f func()) (stop func() bool) {
	inner := context.AfterFunc(c.Context, f)
	return func() bool {
		c.n++
		c.stopped(c.n)
		return inner()
	}
}

// telemetry is telemetry whose middleware the test sets.
type telemetry struct {
	observe.NoTelemetry
	middleware handler.Middleware
	info       observe.ConsumerInfo
	stats      func() nsqx.Stats
	running    int // calls of Observe without stop
}

func (t *telemetry) Consumer(info observe.ConsumerInfo) handler.Middleware {
	t.info = info
	return t.middleware
}

func (t *telemetry) Observe(stats func() nsqx.Stats) (stop func()) {
	t.stats = stats
	t.running++
	return func() { t.running-- }
}

type hookedTelemetry struct {
	telemetry
	events
}

func (t *hookedTelemetry) Hooks() observe.Hooks { return t.hooks() }

// publisherTelemetry is telemetry of publishers.
type publisherTelemetry struct {
	telemetry
	send   handler.SendMiddleware
	infos  synced[observe.ProducerInfo]
	stats  func() nsqx.PublisherStats
	active int
}

func (o *publisherTelemetry) Producer(info observe.ProducerInfo) handler.SendMiddleware {
	o.infos.add(info)
	return o.send
}

func (o *publisherTelemetry) ObservePublisher(stats func() nsqx.PublisherStats) (stop func()) {
	o.stats = stats
	o.active++
	return func() { o.active-- }
}
