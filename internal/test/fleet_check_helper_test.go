package test

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/observe"
)

// check is the name of an invariant of a fleet.
type check string

const (
	checkReady       check = "ready"       // a consumer becomes ready
	checkHandled     check = "handled"     // every message is handled, or dead after real failures
	checkUnseen      check = "unseen"      // none is given up that no handler has seen
	checkEarly       check = "early"       // none is given up before its handler has failed MaxAttempts times
	checkAttempts    check = "attempts"    // at most 1.02 a delivery that no fault forced
	checkUtilisation check = "utilisation" // 0.95 while there is a backlog
	checkStarved     check = "starved"     // no nsqd and no replica waits while others work
	checkOutage      check = "outage"      // an outage costs a message at most 3 attempts
	checkSmallOutage check = "smallOutage" // an outage kills none where the topic holds fewer than 10
	checkPoison      check = "poison"      // messages that always fail do not slow the others
	checkTopics      check = "topics"      // each channel of a new topic gets all messages
	checkRun         check = "run"         // Run returns in time
	checkFlat        check = "flat"        // goroutines and memory do not grow

	// See large_test.go.
	checkGiveUps     check = "giveUps"
	checkHungWorkers check = "hungWorkers"
	checkCeiling     check = "ceiling"
	checkQuiet       check = "quiet"
)

// checkSettled waits for the messages of the phase. It reports whether all are handled or dead.
func (f *fleet) checkSettled(limit time.Duration) bool {
	began := f.now()
	ok := f.await(limit)
	f.mu.Lock()
	defer f.mu.Unlock()
	var unseen, early, dead, open, depth, inFlight int
	for _, r := range f.records[f.current:] {
		if r.dead {
			dead++
		} else if !r.handled {
			open++
		}
		if r.unseen {
			unseen++
		} else if r.early {
			early++
		}
	}
	n := len(f.records) - f.current
	if !ok {
		for _, s := range f.servers {
			st := s.Stats(fleetTopic, fleetChannel)
			depth, inFlight = depth+st.Depth+st.Deferred, inFlight+st.InFlight
		}
		f.fail(checkHandled, "%d of %d messages are neither handled nor dead after %v; nsqds have %d waiting and %d in flight", open, n, f.now()-began, depth, inFlight)
	}
	if unseen > 0 {
		f.fail(checkUnseen, "%d of %d messages were given up, and no handler had seen them fail", unseen, n)
	}
	if early > 0 && f.phase.kind != churn && f.phase.kind != hang {
		f.fail(checkEarly, "%d of %d messages were given up before they had failed %d times", early, n, f.s.maxAttempts)
	}
	if dead > 0 {
		f.note("%d of %d dead", dead, n)
	}
	return ok
}

// checkAttempts checks the deliveries of the phase, without those that faults forced and without exempt ones. When all
// workers of a replica hang, it gives back what waits for them.
func (f *fleet) checkAttempts(exempt int) {
	if f.s.service.hangs > 0 {
		exempt += f.givenBack() - f.before
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	attempts, n := 0, len(f.records)-f.current
	for _, r := range f.records[f.current:] {
		attempts += r.server.Attempts(fleetTopic, fleetChannel, r.id)
	}
	extra := attempts - n - f.forced
	f.note("%d attempts of %d messages, %d forced", attempts, n, f.forced)
	if extra > exempt+max(n/50, 1) {
		f.fail(checkAttempts, "%d messages took %d attempts, %d of them forced and %d exempt: mean %.2f, want at most 1.02",
			n, attempts, f.forced, min(exempt, extra), 1+float64(extra-exempt)/float64(n))
	}
}

// checkUtilisation checks that workers had no pause while there was a backlog of at least six rounds and five seconds.
func (f *fleet) checkUtilisation(w *window) {
	workers := f.s.replicas * f.s.concurrency
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.to-w.from < max(5*time.Second, 6*f.s.service.mean) {
		return
	}
	u := w.utilisation(workers)
	f.note("utilisation %.3f over %v", u, w.to-w.from)
	if u < 0.95 {
		f.fail(checkUtilisation, "%d workers were busy %.3f of %v with a backlog, want 0.95", workers, u, w.to-w.from)
	}
}

// checkStarved checks that work was spread.
func (f *fleet) checkStarved(w *window) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.to == 0 {
		return
	}
	workers := f.s.slots()
	fair := max(f.s.service.mean*time.Duration(len(w.left))/time.Duration(workers), f.s.service.mean)
	bound := 20*time.Second + 20*fair
	if f.s.service.hangs > 0 {
		bound += hangTime + time.Duration(w.hangs)*hangTime/time.Duration(workers) // all workers at once, or one after the other
	}
	if w.gap > bound {
		f.fail(checkStarved, "%s had messages and no delivery for %v, want at most %v", w.starved.Addr(), w.gap, bound)
	}
	all := 0
	for _, n := range w.starts {
		all += n
	}
	if f.s.service.hangs > 0 {
		return // a replica whose workers hang has fewer
	}
	for r := range f.s.replicas {
		if share := all / f.s.replicas; share >= 40 && w.to-w.from > 5*time.Second && w.starts[r] < share/2 {
			f.fail(checkStarved, "replica %d has started %d of %d messages, want half of its share at least", r, w.starts[r], all)
		}
	}
}

// checkOutage checks what an outage has cost.
func (f *fleet) checkOutage(p phase) {
	f.mu.Lock()
	defer f.mu.Unlock()
	most, sum, dead := 0, 0, 0
	for _, r := range f.records[f.current:] {
		most, sum = max(most, r.failed), sum+r.failed
		if r.dead {
			dead++
		}
	}
	n := len(f.records) - f.current
	f.note("%d messages failed %.1f times, %d at most; %d dead", n, float64(sum)/float64(n), most, dead)
	c := checkOutage
	if n < 10 {
		c = checkSmallOutage
	}
	if dead > 0 {
		f.fail(c, "an outage of %v has killed %d of %d messages with MaxAttempts %d", p.lasts, dead, n, f.s.maxAttempts)
	}
}

// checkStop checks the end of a Run.
func (f *fleet) checkStop(r *replica, took time.Duration) {
	if took > 22*time.Second {
		f.fail(checkRun, "Run of replica %d returned after %v", r.n, took)
	}
	if unfinished, ok := errors.AsType[*observe.ShutdownError](r.err); r.err != nil && (!ok || len(unfinished.Abandoned) == 0) {
		f.fail(checkRun, "Run of replica %d returned %v", r.n, r.err)
	}
}

// checkFlat checks that the idle fleet has no more goroutines than at the start, and its share of memory.
func (f *fleet) checkFlat(goroutines int, memory uint64) {
	const perConn = 6 // both ends, with room
	bound := goroutines + (len(f.servers)-f.s.nsqds)*f.s.replicas*perConn + 10
	if n, profile := countGoroutines(); n > bound {
		f.fail(checkFlat, "%d goroutines, %d at the start, want at most %d:\n%s", n, goroutines, bound, profile)
	}
	most := memory + 8<<20 + uint64(len(f.records))<<11
	if used := heap(); used > most {
		f.fail(checkFlat, "%d MB of heap, %d at the start, want at most %d", used>>20, memory>>20, most>>20)
	}
}

// countGoroutines counts the goroutines that are left when the timers of this instant have run. runtime.NumGoroutine may
// count some that have ended.
func countGoroutines() (n int, profile string) {
	synctest.Wait()
	var text strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&text, 1) // a strings.Builder takes all
	if _, err := fmt.Sscanf(text.String(), "goroutine profile: total %d", &n); err != nil {
		panic(err)
	}
	return n, text.String()
}

// heap is the memory in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
