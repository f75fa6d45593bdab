package main

import (
	"testing"
	"time"
)

func bodyOf(seq uint64, published time.Time) []byte {
	body := make([]byte, minBody)
	putBody(body, seq, published)
	return body
}

// TestLatencyMeter: only messages after the warm-up are measured, each at its first delivery. done
// is called when all have arrived.
func TestLatencyMeter(t *testing.T) {
	done := 0
	m := newLatencyMeter(2, 1, func() { done++ })
	now := time.Now()
	m.handle(bodyOf(0, now.Add(-time.Hour)))
	m.handle(bodyOf(2, now.Add(-time.Minute)))
	m.handle(bodyOf(2, now.Add(-time.Hour)))
	if done != 0 {
		t.Error("done before message 1")
	}
	m.handle(bodyOf(1, now.Add(-time.Second)))
	if done != 1 {
		t.Errorf("done %d times, want 1", done)
	}
	r := m.report()
	if r.Duplicates != 1 {
		t.Errorf("%d duplicates, want 1", r.Duplicates)
	}
	if q := r.Latency; q.P50 < time.Second || q.P50 >= time.Minute || q.Max < time.Minute || q.Max >= time.Hour {
		t.Errorf("latency %+v, want a median of a second and at most a minute", q)
	}
	if r.Messages != 2 || r.Wall <= 0 || r.CPU <= 0 {
		t.Errorf("not measured: %+v", r.usage)
	}
}

// TestDrainMeter: the drain is measured until all but the last few messages have arrived; the rest
// is its tail.
func TestDrainMeter(t *testing.T) {
	done := 0
	m := newDrainMeter(1000, func() { done++ })
	for seq := range uint64(1000) {
		if seq == 990 {
			time.Sleep(time.Millisecond)
		}
		m.handle(bodyOf(seq, time.Now()))
	}
	r := m.report()
	if done != 1 {
		t.Errorf("done %d times, want 1", done)
	}
	if r.Messages < 980 || r.Messages > 990 || r.Wall <= 0 || r.Tail < time.Millisecond || r.Duplicates != 0 {
		t.Errorf("%+v, want 980 to 990 messages, and a millisecond for the rest", r)
	}
}

func TestQuantiles(t *testing.T) {
	var all []time.Duration
	for i := range 1001 {
		all = append(all, time.Duration(1000-i))
	}
	if got, want := quantilesOf(all), (quantiles{P50: 500, P90: 900, P99: 990, Max: 1000}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := quantilesOf(nil); got != (quantiles{}) {
		t.Errorf("of nothing: %+v", got)
	}
}
