package nsqotel

import (
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/nsqx/nsqx/handler"
)

// measureBegin measures the message at the start of the handler.
func (p *process) measureBegin() {
	i := &p.inst
	age, queue := i.age.Enabled(p.ctx), p.cfg.queue && i.queue.Enabled(p.ctx)
	if !age && !queue && !i.processDuration.Enabled(p.ctx) {
		return
	}
	p.began = time.Now()
	if at := p.m.Timestamp().UnixNano(); age && at > 0 && p.at.ageDue(p.began) { // 0: no timestamp
		p.record(i.age, time.Duration(p.began.UnixNano()-at), p.at.plain)
	}
	if queue && (*handler.Delivery)(p.m).Source() != nil {
		p.record(i.queue, p.began.Sub(p.m.Received()), p.at.plain)
	}
}

// measureEnd measures the outcome of the message.
func (p *process) measureEnd(out handler.Outcome, errorType string) {
	i := &p.inst
	if p.m.Attempts != 1 {
		p.count(i.redeliveries, p.at.plain)
	}
	succeeded := out.Disposition == handler.Finish && errorType == ""
	r := p.at.finished
	if !succeeded {
		r = p.at.results.get(resultKey{out.Disposition, errorType})
	}
	if !p.began.IsZero() && i.processDuration.Enabled(p.ctx) {
		p.record(i.processDuration, time.Since(p.began), r.process)
	}
	if succeeded && p.at.count() {
		return
	}
	p.count(i.consumed, r.process)
	if out.Disposition != handler.Pending {
		p.count(i.settlements, r.settlement)
	}
}

// record records a duration with the context of the span. The clocks of hosts differ, so a
// negative duration counts as 0.
func (p *process) record(h metric.Float64Histogram, d time.Duration, at measurement) {
	h.Record(p.ctx, max(d, 0).Seconds(), at.record...)
}

func (p *process) count(c metric.Int64Counter, at measurement) {
	if c.Enabled(p.ctx) {
		c.Add(p.ctx, 1, at.add...)
	}
}
