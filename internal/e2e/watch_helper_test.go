package e2e

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/observe"
)

// lostSoon waits for the end of the first connection and fails the test if it comes too late after
// the fault at since.
func (w *watch) lostSoon(tb testing.TB, since time.Time) observe.ConnEvent {
	tb.Helper()
	eventually(tb, func() bool { return len(w.events(&w.disconnects)) > 0 }, "the connection to be given up")
	ev := w.events(&w.disconnects)[0]
	if took := ev.Time.Sub(since); took > noticed+slack {
		tb.Errorf("the fault was noticed after %v, want %v at most", took, noticed)
	}
	return ev
}

type settled struct {
	body     string
	attempts uint16
	outcome  handler.Outcome
}

type watch struct {
	mu                                         sync.Mutex
	connects, disconnects, dialErrors, refused []observe.ConnEvent
	outcomes                                   []settled
}

func (w *watch) note(list *[]observe.ConnEvent, ev observe.ConnEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*list = append(*list, ev)
}

func (w *watch) hooks() nsqx.Hooks {
	notes := func(list *[]observe.ConnEvent) func(observe.ConnEvent) {
		return func(ev observe.ConnEvent) { w.note(list, ev) }
	}
	return nsqx.Hooks{
		OnConnect: notes(&w.connects), OnDisconnect: notes(&w.disconnects), OnDialError: notes(&w.dialErrors), OnRefused: notes(&w.refused),
		OnSettle: w.onSettle,
	}
}

func (w *watch) onSettle(m *handler.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes = append(w.outcomes, settled{string(m.Body), m.Attempts, m.Outcome()})
}

func (w *watch) events(list *[]observe.ConnEvent) []observe.ConnEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(*list)
}

func (w *watch) settled() []settled {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.outcomes)
}

// connected waits for n connections in all.
func (w *watch) connected(tb testing.TB, n int) {
	tb.Helper()
	eventually(tb, func() bool { return len(w.events(&w.connects)) >= n }, "%d connections", n)
}

// checkDials fails the test unless dials to each address were as far apart as the backoff demands:
// 100 ms at first, then doubled. It does not allow for connections that lived 10 s or more, which
// reset the backoff, nor for addresses that nsqlookupd has named again.
func (w *watch) checkDials(tb testing.TB) {
	tb.Helper()
	type attempt struct {
		observe.ConnEvent
		failed bool
	}
	byAddr := make(map[string][]attempt)
	for _, list := range []*[]observe.ConnEvent{&w.connects, &w.disconnects, &w.dialErrors} {
		for _, ev := range w.events(list) {
			byAddr[ev.NSQD] = append(byAddr[ev.NSQD], attempt{ev, list != &w.connects})
		}
	}
	for addr, attempts := range byAddr {
		slices.SortStableFunc(attempts, func(a, b attempt) int { return a.Time.Compare(b.Time) })
		failures := 0
		var next time.Time
		for _, a := range attempts {
			if a.Time.Before(next) {
				tb.Errorf("%s was dialled %v before its time", addr, next.Sub(a.Time))
			}
			if !a.failed || a.Retry == 0 { // after Run there is no next dial
				next = time.Time{}
				continue
			}
			next = a.Time.Add(a.Retry)
			if least := min(50*time.Millisecond<<min(failures, 10), 3*time.Second); a.Retry < least {
				tb.Errorf("failure %d of %s: the next dial after %v, want %v at least", failures+1, addr, a.Retry, least)
			}
			failures++
		}
	}
}

func dispositions(w *watch) (all []handler.Disposition) {
	for _, o := range w.settled() {
		all = append(all, o.outcome.Disposition)
	}
	return all
}

// checkOutcomes compares the outcomes with want, and the deliveries with the outcomes.
func checkOutcomes(t testing.TB, w *watch, deliveries []delivery, want []handler.Outcome) {
	t.Helper()
	got := w.settled()
	if len(got) != len(want) || len(deliveries) != len(want) {
		t.Errorf("%d deliveries with outcomes %v, want %v", len(deliveries), got, want)
		return
	}
	for i, d := range deliveries {
		out := got[i].outcome
		if out.Disposition != want[i].Disposition || out.Delay != want[i].Delay {
			t.Errorf("outcome %d is %s after %v (%v), want %s after %v", i+1,
				out.Disposition, out.Delay, out.Err, want[i].Disposition, want[i].Delay)
		}
		if (out.Err == nil) != (out.Disposition == handler.Finish) {
			t.Errorf("outcome %d is %s with error %v", i+1, out.Disposition, out.Err)
		}
		if int(d.attempts) != i+1 {
			t.Errorf("delivery %d has attempts %d", i+1, d.attempts)
		}
		if i > 0 && d.at.Sub(deliveries[i-1].at) < want[i-1].Delay {
			t.Errorf("delivery %d came %v after the one before, want %v at least", i+1, d.at.Sub(deliveries[i-1].at), want[i-1].Delay)
		}
	}
}

// checkCounts compares Stats and nsqd's counters with the outcomes.
func checkCounts(t testing.TB, s *testnsqd.Server, stats nsqx.Stats, want []handler.Outcome) {
	t.Helper()
	var n [handler.Lost + 1]uint64
	for _, o := range want {
		n[o.Disposition]++
	}
	got := [...]uint64{stats.Finished, stats.Requeued, stats.Dropped, stats.DeadLettered, stats.Skipped, stats.Interrupted, stats.Expired, stats.Lost}
	if !slices.Equal(got[:], n[handler.Finish:]) {
		t.Errorf("stats %+v, want %v", stats, want)
	}
	st := s.Channel(stats.Topic, stats.Channel)
	if st.Requeued != n[handler.Requeue]+n[handler.Interrupted] || st.TimedOut != n[handler.Expired]+n[handler.Lost] {
		t.Errorf("nsqd says %+v, want outcomes %v", st, want)
	}
}
