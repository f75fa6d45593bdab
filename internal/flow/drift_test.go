package flow_test

import (
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/flow"
)

func wantDrift(t *testing.T, d *flow.Drift, allowance int, probeAt time.Duration) {
	t.Helper()
	if got := d.Allowance(); got != allowance {
		t.Errorf("allowance is %d, want %d", got, allowance)
	}
	if got := d.ProbeAt(); got != probeAt {
		t.Errorf("the next probe is at %v, want %v", got, probeAt)
	}
}

// TestDriftAllowance: refused answers raise it, up to a limit; a message bounds it.
func TestDriftAllowance(t *testing.T) {
	var d flow.Drift
	for n := range 5 {
		d.Refused(time.Duration(n)*ms, 3)
	}
	wantDrift(t, &d, 3, 4*ms+2*time.Second)
	d.Received(503*ms, 4, 1, 1)  // 1 in flight of RDY 4: up to 3 too many
	wantDrift(t, &d, 3, 2503*ms) // it may have been sent before
	d.Received(504*ms, 4, 1, 1)
	wantDrift(t, &d, 3, 504*ms+10*time.Minute)
	d.Received(600*ms, 5, 3, 1)
	wantDrift(t, &d, 2, 2600*ms) // in doubt: the bound may be too low
	d.Received(700*ms, 5, 9, 1)
	wantDrift(t, &d, 0, 2700*ms)
	d.Received(1100*ms, 1, 1, 1)
	wantDrift(t, &d, 0, 3100*ms)
	d.Received(1200*ms, 1, 1, 1)
	wantDrift(t, &d, 0, 1200*ms+10*time.Minute)
}

// TestDriftBoundOfAWindow: with room for more, a message proves less than the connection needs when it is quiet.
func TestDriftBoundOfAWindow(t *testing.T) {
	var d flow.Drift
	d.Doubt(0)
	d.Received(time.Second, 100, 1, 1)
	wantDrift(t, &d, 0, 3*time.Second)
	d.Received(2*time.Second, 100, 1, 100) // fixed RDY: there is room at any time
	wantDrift(t, &d, 0, 2*time.Second+10*time.Minute)
}

// TestDriftProbes: after a cause they come after 2, 4 … 60 s, else each 10 min.
func TestDriftProbes(t *testing.T) {
	var d flow.Drift
	wantDrift(t, &d, 0, 10*time.Minute)
	now := 5 * time.Second
	d.Answered(now)
	d.Doubt(now)
	for _, wait := range []time.Duration{2, 4, 8, 16, 32, 60, 600, 600} {
		wait *= time.Second
		wantDrift(t, &d, 0, now+wait)
		if stale, want := d.Stale(now+wait, 250*ms, true), wait == 600*time.Second; stale != want {
			t.Errorf("stale: %v after %v, want %v", stale, wait, want)
		}
		now += wait
		d.Probe(now)
		for d.NextStep(now, 16, false) {
			now += 3 * ms
		}
	}
	d.Doubt(now) // it begins again
	wantDrift(t, &d, 0, now+2*time.Second)
}

// TestDriftSteps: RDY rises and falls, further each time, up to what nsqd takes.
func TestDriftSteps(t *testing.T) {
	var d flow.Drift
	d.Probe(0)
	var steps []int
	const limit = 1000
	for up := true; ; up = !up {
		if up {
			steps = append(steps, d.Extra())
		} else if d.Extra() != 0 {
			t.Fatalf("%d between steps, want 0", d.Extra())
		}
		if !d.NextStep(0, 20, d.Extra() >= limit) {
			break
		}
	}
	for i, n := range steps[1:] {
		if before := steps[i]; n <= before || n > 2*before || n > 20 && n > before+max(before/4, 1) {
			t.Errorf("step %d after %d", n, before)
		}
	}
	if last := steps[len(steps)-1]; last < limit || len(steps) > 25 || d.Probing() {
		t.Errorf("steps %v", steps)
	}
}

// TestDriftFound: a message that comes in a probe says that something is wrong, not how much.
func TestDriftFound(t *testing.T) {
	var d flow.Drift
	d.Probe(0)
	d.NextStep(0, 1, false)
	d.NextStep(0, 1, false)
	d.Received(ms, 3, 1, 1)
	if !d.Found() || d.Probing() || d.Extra() != 0 || !d.Stale(ms, 250*ms, false) {
		t.Errorf("%+v", d)
	}
}

// TestDriftStale: a connection with an allowance is replaced when it is quiet.
func TestDriftStale(t *testing.T) {
	var d flow.Drift
	d.Received(0, 1, 1, 1)
	d.Refused(ms, 10)
	d.Answered(200 * ms)
	for at, want := range map[time.Duration]bool{249 * ms: false, 300 * ms: false, 325 * ms: true} {
		if got := d.Stale(at, 250*ms, true); got != want {
			t.Errorf("stale at %v: %v, want %v", at, got, want)
		}
		if d.Stale(at, 250*ms, false) {
			t.Errorf("stale at %v with messages in flight", at)
		}
	}
}
