package main

import (
	"slices"
	"sync/atomic"
	"time"
)

// bulkPercent is the part of a drain that determines its rate; bulkChecks is how often it is
// checked.
const (
	bulkPercent = 98
	bulkChecks  = 256
)

// nsqdMeter measures messages of a real nsqd, in any order and with duplicates, from the first
// measured message on.
type nsqdMeter struct {
	done       func()
	messages   int    // to measure
	warmup     uint64 // the first messages published are not measured
	bulk       int    // messages until the usage is taken
	tally      *tally
	latencies  []time.Duration // by message; empty if not measured
	duplicates atomic.Int64

	started, stopped atomic.Bool
	epoch            time.Time
	start, stop      usage
	counted          int // messages handled by then
	end              time.Duration
}

// newDrainMeter measures the bulk of the messages.
func newDrainMeter(messages int, done func()) *nsqdMeter {
	return &nsqdMeter{done: done, messages: messages, bulk: messages * bulkPercent / 100, tally: newTally(messages), epoch: time.Now()}
}

// newLatencyMeter measures each message after the warm-up.
func newLatencyMeter(messages, warmup int, done func()) *nsqdMeter {
	return &nsqdMeter{done: done, messages: messages, warmup: uint64(warmup), bulk: messages,
		tally: newTally(warmup + messages), latencies: make([]time.Duration, messages), epoch: time.Now()}
}

func (m *nsqdMeter) handle(body []byte) {
	seq := bodySeq(body)
	first, last := m.tally.add(seq)
	switch {
	case !first:
		m.duplicates.Add(1)
		return
	case seq >= m.warmup:
		m.measure(seq-m.warmup, body)
	}
	if last {
		m.halt(m.messages)
		m.end = time.Since(m.epoch)
		m.done()
	}
}

// measure measures the nth measured message.
func (m *nsqdMeter) measure(n uint64, body []byte) {
	if len(m.latencies) > 0 {
		m.latencies[n] = time.Since(bodyTime(body))
	}
	if !m.started.Load() && m.started.CompareAndSwap(false, true) {
		m.start = used(m.epoch)
	}
	if m.bulk < m.messages && n%uint64(max(1, m.messages/bulkChecks)) == 0 && !m.stopped.Load() {
		if counted := m.tally.count(); counted >= m.bulk {
			m.halt(counted)
		}
	}
}

func (m *nsqdMeter) halt(counted int) {
	if m.stopped.CompareAndSwap(false, true) {
		m.stop, m.counted = used(m.epoch), counted
	}
}

func (m *nsqdMeter) report() clientReport {
	return clientReport{
		usage:      m.stop.since(m.start),
		Messages:   m.counted,
		Tail:       m.end - m.stop.Wall,
		Duplicates: int(m.duplicates.Load()),
		Latency:    quantilesOf(m.latencies),
	}
}

// quantiles are times from publish to handler.
type quantiles struct{ P50, P90, P99, Max time.Duration }

// quantilesOf sorts all.
func quantilesOf(all []time.Duration) quantiles {
	if len(all) == 0 {
		return quantiles{}
	}
	slices.Sort(all)
	at := func(percent int) time.Duration { return all[(len(all)-1)*percent/100] }
	return quantiles{P50: at(50), P90: at(90), P99: at(99), Max: at(100)}
}
