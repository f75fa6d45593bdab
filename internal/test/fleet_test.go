package test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
)

// pending are the invariants that do not hold yet, and why. What breaks them is reported, but does not fail.
var pending = map[check]string{
	checkUtilisation: "where nsqds outnumber slots, one with messages in flight gets no turn until all are answered: a turn for it " +
		"would cost quiet nsqds 20 ms of latency; and of many nsqds the last ones with messages are looked for at 3 ms each",
}

// TestFleet runs fleets in virtual time. Each seed chooses nsqds, replicas, handlers, faults and load: see newScenario.
//
//	NSQX_SEEDS=5000 go test -run 'TestFleet$' -timeout 2h ./internal/test    # more seeds, from NSQX_SEED if given
//	NSQX_SEED=7 go test -run 'TestFleet$' -v ./internal/test              # one, with its figures
//	NSQX_DAY=1 …                                                          # each a day, however large the fleet
//
// A fleet of few nsqds and replicas lives for a day, a large one as long as its heartbeats cost little. Scheduling and
// the jitter of nsqx are not from the seed, so a seed may fail now and then.
func TestFleet(t *testing.T) {
	first, n := uint64(1), uint64(10)
	if s := os.Getenv("NSQX_SEED"); s != "" {
		first, n = number(t, "NSQX_SEED", s), 1
	}
	if s := os.Getenv("NSQX_SEEDS"); s != "" {
		n = number(t, "NSQX_SEEDS", s)
	}
	failed := make(map[check][]uint64)
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			s := newScenario(seed, os.Getenv("NSQX_DAY") != "")
			found, notes := runScenario(t, s)
			t.Log(s)
			for _, note := range notes {
				t.Log(note)
			}
			for _, x := range found {
				failed[x.check] = append(failed[x.check], seed)
				x.report(t, "\nfleet: %v\nrepeat: NSQX_SEED=%d go test -run 'TestFleet$' -v ./internal/test", s, seed)
			}
		})
	}
	for _, c := range slices.Sorted(maps.Keys(failed)) {
		if why, ok := pending[c]; ok {
			t.Logf("pending: %s (%s) in %d findings of %d seeds: %v", c, why, len(failed[c]), n, slices.Compact(failed[c]))
		}
	}
}

// report fails the test, unless the invariant is pending.
func (x finding) report(t *testing.T, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf("%s: %s", x.check, x.text) + fmt.Sprintf(format, args...)
	if why, ok := pending[x.check]; ok {
		t.Logf("pending (%s): %s", why, text)
		return
	}
	t.Error(text)
}

// runScenario runs a scenario in a bubble, and that of a poison phase twice.
func runScenario(t *testing.T, s *scenario) (found []finding, notes []string) {
	good := 0
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, s)
		f.run()
		found, notes, good = f.found, f.notes, f.good
	})
	if s.phases[0].kind != poison {
		return found, notes
	}
	twin := *s
	twin.noBreaker = true
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, &twin)
		f.run()
		without := f.good
		notes = append(notes, fmt.Sprintf("%d good messages handled, %d without a breaker", good, without))
		if 20*good < 19*without {
			found = append(found, finding{checkPoison, fmt.Sprintf("%d good messages handled in the time in which a consumer without a breaker does %d", good, without)})
		}
	})
	return found, notes
}

func number(t *testing.T, name, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == 0 {
		t.Fatalf("%s is %q, want a number above 0", name, s)
	}
	return n
}
