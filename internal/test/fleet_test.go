package test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
)

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
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			s := newScenario(seed, os.Getenv("NSQX_DAY") != "")
			found, notes := runScenario(t, s)
			t.Log(s)
			for _, note := range notes {
				t.Log(note)
			}
			for _, x := range found {
				t.Errorf("%s: %s\nfleet: %v\nrepeat: NSQX_SEED=%d go test -run 'TestFleet$' -v ./internal/test", x.check, x.text, s, seed)
			}
		})
	}
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
