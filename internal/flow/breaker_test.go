package flow_test

import (
	"math"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/flow"
)

const sec = time.Second

var backoff = flow.Backoff{MinResults: 20, Failures: 0.9, Period: 10 * sec, First: sec, Max: 60 * sec}

// totals feeds a breaker with single results.
type totals struct {
	*flow.Breaker
	results, failures uint64
	asked             int // calls of results
}

func newTotals() *totals { return &totals{Breaker: flow.NewBreaker(backoff)} }

// add records n results and reports whether the breaker has opened.
func (b *totals) add(now time.Duration, n int, failed bool) (opened bool) {
	for range n {
		b.results++
		if failed {
			b.failures++
		}
		opened = b.record(now) || opened
	}
	return opened
}

func (b *totals) record(now time.Duration) (opened bool) {
	return b.Record(now, b.failures, func() uint64 {
		b.asked++
		return b.results
	})
}

func (b *totals) wantLimit(t *testing.T, now time.Duration, want int) {
	t.Helper()
	if got := b.Limit(now); got != want {
		t.Errorf("limit %d at %v, want %d", got, now, want)
	}
}

func TestBreakerOpens(t *testing.T) {
	tests := []struct {
		name string
		play func(b *totals) bool
		want bool
	}{
		{"nothing", func(b *totals) bool { return b.add(0, 0, true) }, false},
		{"too few", func(b *totals) bool { return b.add(sec, 19, true) }, false},
		{"enough", func(b *totals) bool { return b.add(sec, 20, true) }, true},
		{"one of ten good", func(b *totals) bool { return b.add(sec, 2, false) || b.add(sec, 18, true) }, true},
		{"more of them good", func(b *totals) bool { return b.add(sec, 3, false) || b.add(sec, 18, true) }, false},
		{"in the end", func(b *totals) bool { return b.add(sec, 3, false) || b.add(sec, 27, true) }, true},
		{"too slowly", func(b *totals) bool {
			for i := range 100 {
				if b.add(time.Duration(i)*sec, 1, true) {
					return true
				}
			}
			return false
		}, false},
		{"just quickly enough", func(b *totals) bool {
			for i := range 100 {
				if b.add(time.Duration(i)*450*ms, 1, true) {
					return true
				}
			}
			return false
		}, true},
		{"what was good long ago does not count", func(b *totals) bool {
			b.add(sec, 1000, false)
			for i := range 20 {
				b.add(time.Duration(i)*sec, 0, true)
				b.record(time.Duration(i) * sec)
			}
			return b.add(21*sec, 20, true)
		}, true},
		{"what was good just now does", func(b *totals) bool {
			return b.add(sec, 1000, false) || b.add(3*sec, 500, true)
		}, false},
		{"after a long silence", func(b *totals) bool {
			return b.add(sec, 19, true) || b.add(time.Hour, 10, true)
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newTotals()
			if got := tt.play(b); got != tt.want || b.Closed() == tt.want {
				t.Errorf("opened: %v, want %v; closed: %v", got, tt.want, b.Closed())
			}
		})
	}
}

// TestBreakerLife opens the breaker, fails the probe until it stays open for a minute, and closes
// it by successes.
func TestBreakerLife(t *testing.T) {
	b := newTotals()
	b.wantLimit(t, 0, math.MaxInt)
	now := 5 * sec
	b.add(now, 20, true)
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		d := time.Duration(seconds) * sec
		b.wantLimit(t, now, 0)
		if got := b.OpenFor(now); got != d {
			t.Errorf("open for %v, want %v", got, d)
		}
		if b.Result(now, false, 8) || b.Result(now, true, 8) {
			t.Error("opened again by results from before")
		}
		b.wantLimit(t, now+d-1, 0)
		now += d
		b.wantLimit(t, now, 1)
		b.wantLimit(t, now+sec, 1)
		if !b.Result(now, true, 8) {
			t.Error("the one that tried has failed, and it does not open")
		}
	}
	now += time.Minute
	b.wantLimit(t, now, 1)
	for i, want := range []int{2, 3, 4, 5, 6, 7} {
		if b.Result(now, false, 8) || b.Closed() {
			t.Errorf("after %d successes: opened, or closed already", i+1)
		}
		b.wantLimit(t, now, want)
	}
	b.Result(now, true, 8) // a single failure is no outage
	b.wantLimit(t, now, 7)
	b.Result(now, false, 8)
	if !b.Closed() {
		t.Error("not closed")
	}
	b.wantLimit(t, now, math.MaxInt)

	b.results += 1000 // results while it was not closed do not count
	b.failures += 1000
	if b.record(now) || b.add(now, 19, true) {
		t.Error("opened by what was before")
	}
	if !b.add(now, 1, true) || b.OpenFor(now) != sec {
		t.Error("does not start again")
	}
}

// TestBreakerRamp checks that the breaker opens for longer if most results of the ramp are
// failures.
func TestBreakerRamp(t *testing.T) {
	b := newTotals()
	b.add(0, 20, true)
	b.Limit(sec)
	for range 3 {
		b.Result(sec, false, 100)
	}
	b.wantLimit(t, sec, 4)
	for i, want := range []bool{false, false, true} {
		if got := b.Result(sec, true, 100); got != want {
			t.Errorf("failure %d opens it: %v, want %v", i+1, got, want)
		}
	}
	if got := b.OpenFor(sec); got != 2*sec {
		t.Errorf("open for %v, want 2s", got)
	}
}

// TestBreakerSmall checks that with a single worker the first success closes the breaker.
func TestBreakerSmall(t *testing.T) {
	b := newTotals()
	b.add(0, 20, true)
	b.wantLimit(t, sec, 1)
	b.Result(sec, false, 1)
	if !b.Closed() {
		t.Error("not closed")
	}
}

// TestBreakerAsksRarely checks that the breaker rarely asks for the number of results, and still
// opens at the decisive failure.
func TestBreakerAsksRarely(t *testing.T) {
	for _, tt := range []struct {
		name        string
		good, bad   int // in each round
		rounds      int
		opens, asks int // failures after the rounds until it opens; most calls of results
	}{
		{"nothing but failures", 0, 0, 0, 20, 3},
		{"one in a hundred", 99, 1, 1000, 890_000, 150},
		{"half", 1, 1, 5000, 40_000, 150},
		{"most", 1, 4, 1000, 5000, 150},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newTotals()
			const now = sec / 2 // in the first part of the period
			for range tt.rounds {
				if b.add(now, tt.good, false) || b.add(now, tt.bad, true) {
					t.Fatalf("open after %d results", b.results)
				}
			}
			got := 1
			for !b.add(now, 1, true) {
				got++
			}
			if got != tt.opens {
				t.Errorf("opens at failure %d, want %d", got, tt.opens)
			}
			if b.asked > tt.asks {
				t.Errorf("it has asked %d times in %d failures, want %d at most", b.asked, b.failures, tt.asks)
			}
		})
	}
}
