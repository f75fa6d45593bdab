package main

import (
	"testing"
	"time"
)

// TestPool: a target that fails rests for a second, then for twice as long each time, a minute at
// most. If all rest, the one whose rest ends first is tried.
func TestPool(t *testing.T) {
	ts := newTargets(config{mode: pool, post: []string{"a", "b"}})
	now := time.Now()
	pick := func() string { return ts.choose(now)[0].url }
	wantAll := func(want string, n int) {
		t.Helper()
		for range n {
			if got := pick(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
	if x, y := pick(), pick(); x == y {
		t.Error("it does not take turns")
	}
	a, b := ts.all[0], ts.all[1]
	for _, rest := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		for range 100 { // requests that fail at the same time
			ts.report(a, now, false)
		}
		now = now.Add(rest*time.Second - 1)
		wantAll("b", 3)
		now = now.Add(1)
		if x, y := pick(), pick(); x == y {
			t.Errorf("a does not come back after %v s", int64(rest))
		}
	}
	ts.report(b, now, false)
	ts.report(a, now, false) // for a minute
	wantAll("b", 3)
	ts.report(a, now, true)
	wantAll("a", 3)
	ts.report(a, now, false)
	if a.rest != firstRest {
		t.Errorf("a rests for %v after a success, want %v", a.rest, firstRest)
	}
}
