package control

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/notify"
)

// failing returns a service with n messages, in the order of their ids, whose handlers hang until
// release is called. Quotas are set.
func failing(t *testing.T, n int) (s *service, l *line, running []*handler.Delivery, release func()) {
	t.Helper()
	handle, release := hanging()
	s = newService(t, Config{Backoff: backoff(), Concurrency: n, MaxInFlight: 50, FixedRDY: true}, handle)
	s.Start()
	l = s.dial(nsqd1)
	s.adjust(true)
	s.awake()
	for i := range n {
		l.flood(uint64(1+i), 1)
		synctest.Wait()
		for _, m := range s.pool.Snapshot().Running {
			if m.ID.String() == idOf(1+i) {
				running = append(running, m)
			}
		}
	}
	if len(running) != n {
		t.Fatalf("%d messages are running, want %d", len(running), n)
	}
	return s, l, running, release
}

func idOf(n int) string { return newMessages(n, 1, 0)[0].ID.String() }

// TestFailures: a message that fails again is a repeat as long as it is one of the last 32 that failed.
func TestFailures(t *testing.T) {
	var f failures
	add := func(first, n int) {
		msgs := newMessages(first, n, time.Minute)
		for i := range msgs {
			f.add(&msgs[i])
		}
	}
	check := func(what string, count, repeats uint64) {
		t.Helper()
		if f.count != count || f.repeats != repeats {
			t.Errorf("%s: %d failures and %d repeats, want %d and %d", what, f.count, f.repeats, count, repeats)
		}
	}
	add(1, 1)
	check("first", 1, 0)
	add(1, 1)
	add(1, 1)
	check("again", 1, 2)
	add(2, 31)
	check("31 others", 32, 2)
	add(1, 32)
	check("all again", 32, 34)
	add(33, 1)
	add(1, 1) // was replaced by 33
	check("after 32 others", 34, 34)
	add(33, 1)
	check("the one before", 34, 35)
	msgs := newMessages(33, 1, time.Minute)
	msgs[0].ID[0] = 'x'
	f.add(&msgs[0])
	check("another id", 35, 35)
}

// TestCountResults: repeats are no results; a failure counts before it is a result.
func TestCountResults(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{Backoff: backoff(), Concurrency: 1, MaxInFlight: 50}, takes(0))
		s.Start()
		l := s.dial(nsqd1)
		for _, results := range []uint64{0, 10} {
			for _, tt := range []struct{ count, repeats, want uint64 }{
				{0, 0, results},
				{3, 0, max(results, 3)},
				{3, 4, max(results-min(4, results), 3)},
				{8, 4, 8},
				{11, 0, 11},
				{0, 10, 0},
				{0, 12, 0}, // Results lags behind
				{2, 12, 2},
			} {
				s.locked(func() {
					s.failures = failures{count: tt.count, repeats: tt.repeats}
					if got := s.countResults(); got != tt.want {
						t.Errorf("%d results, %d failures and %d repeats count as %d results, want %d", results, tt.count, tt.repeats, got, tt.want)
					}
				})
			}
			l.flood(1+10*results, 10)
			synctest.Wait()
		}
	})
}

// TestFailedOpens: enough failures open the breaker: RDY is closed before the answers, what waits is
// given back until the breaker lets a message try, and one event is posted.
func TestFailedOpens(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, l, running, release := failing(t, 5)
		l.flood(0x10, 2) // wait
		synctest.Wait()
		for _, m := range running[:4] {
			s.Failed(m)
			s.Failed(m) // repeats
		}
		want(t, "open after 4 failures", s.watching.Load(), false)
		want(t, "level", s.State().BackoffLevel, 0)
		want(t, "repeats", s.failures.repeats, 4)
		s.Failed(running[4])
		want(t, "open", s.watching.Load(), true)
		want(t, "level", s.State().BackoffLevel, 1)
		want(t, "quota", l.quota(), 0)
		want(t, "woken", s.awake(), true)
		l.wantCommands("REQ", "REQ 11 1000, REQ 10 1000")
		events := s.posted(notify.Backoff)
		if len(events) != 1 || events[0].Retry != time.Second {
			t.Errorf("events %+v, want one with a second", events)
		}
		l.flood(0x20, 1)
		l.wantCommands("REQ", "REQ 11 1000, REQ 10 1000, REQ 20 1000")
		release()
	})
}

// TestNotCounted: what says nothing about the handler's dependency is no failure.
func TestNotCounted(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(s *service, l *line)
		want   uint64
	}{
		"running":                  {func(*service, *line) {}, 1},
		"Stop":                     {func(s *service, _ *line) { s.Stop() }, 0},
		"the connection has ended": {func(_ *service, l *line) { l.end() }, 0},
		"the contexts have ended":  {func(_ *service, l *line) { l.conn.CancelMessages(handler.ErrShutdown) }, 0},
		"no breaker":               {func(s *service, _ *line) { s.breaker = nil }, 0},
	} {
		bubble(t, name, func(t *testing.T) {
			s, l, running, release := failing(t, 1)
			tt.before(s, l)
			s.Failed(running[0])
			want(t, "failures", s.failures.count, tt.want)
			release()
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, Config{Backoff: backoff()}, takes(0))
		s.locked(func() { s.running = true })
		s.Failed(&newMessages(1, 1, time.Minute)[0])
		want(t, "failures without a connection", s.failures.count, 0)
	})
	bubble(t, "before Start", func(t *testing.T) {
		s, _, running, release := failing(t, 1)
		s.locked(func() { s.running = false })
		s.Failed(running[0])
		want(t, "failures", s.failures.count, 0)
		release()
	})
}

// TestStopEndsCounting: failures after Stop open no breaker, and do not open it again.
func TestStopEndsCounting(t *testing.T) {
	bubble(t, "closed", func(t *testing.T) {
		s, _, running, release := failing(t, 6)
		s.Stop()
		for _, m := range running {
			s.Failed(m)
		}
		s.measure()
		want(t, "failures", s.failures.count, 0)
		want(t, "level", s.State().BackoffLevel, 0)
		want(t, "events", len(s.posted(notify.Backoff)), 0)
		release()
	})
	bubble(t, "a probe", func(t *testing.T) {
		s, _, running, release := failing(t, 6)
		for _, m := range running[:5] {
			s.Failed(m)
		}
		time.Sleep(time.Second)
		s.adjust(true)
		s.Stop()
		s.Failed(running[5])
		want(t, "events", len(s.posted(notify.Backoff)), 1)
		want(t, "level", s.State().BackoffLevel, 1)
		release()
	})
}

// TestProbe: while the breaker is not closed each result counts, those of messages that are given up
// included. The breaker closes after a success for each worker.
func TestProbe(t *testing.T) {
	for name, tt := range map[string]struct {
		failed    func(s *service, m *handler.Delivery)
		succeeded func(s *service)
	}{
		"handled":  {(*service).failed, (*service).succeeded},
		"given up": {func(s *service, m *handler.Delivery) { s.FailedProbe(m) }, func(s *service) { s.SucceededProbe() }},
	} {
		bubble(t, name, func(t *testing.T) {
			s, l, running, release := failing(t, 5)
			for _, m := range running {
				s.FailedProbe(m)
				s.SucceededProbe()
			}
			want(t, "failures of messages given up, closed", s.failures.count, 0)
			want(t, "woken", s.awake(), false)
			for _, m := range running {
				s.Failed(m)
			}
			want(t, "events", len(s.posted(notify.Backoff)), 1)
			tt.failed(s, running[0]) // handlers that ran before
			tt.succeeded(s)
			want(t, "level, of results from before", s.State().BackoffLevel, 1)
			want(t, "events, of results from before", len(s.posted(notify.Backoff)), 1)
			want(t, "watching, of results from before", s.watching.Load(), true)
			s.adjust(true)
			want(t, "max in flight, open", s.State().MaxInFlight, 0)

			time.Sleep(time.Second)
			s.adjust(true)
			want(t, "max in flight of the probe", s.State().MaxInFlight, 1)
			tt.failed(s, running[1])
			events := s.posted(notify.Backoff)
			if len(events) != 2 || events[1].Retry != 2*time.Second {
				t.Errorf("events %+v, want another one with 2 s", events)
			}
			want(t, "level after the probe", s.State().BackoffLevel, 2)
			want(t, "quota after the probe", l.quota(), 0)

			time.Sleep(2 * time.Second)
			s.adjust(true)
			for _, most := range []int{2, 3, 4} {
				s.awake()
				tt.succeeded(s)
				want(t, "woken by a success", s.awake(), true)
				want(t, "watching", s.watching.Load(), true)
				s.adjust(true)
				want(t, "max in flight after a success", s.State().MaxInFlight, most)
			}
			tt.succeeded(s)
			want(t, "watching after a success for each worker", s.watching.Load(), false)
			want(t, "level", s.State().BackoffLevel, 0)
			s.adjust(true)
			want(t, "max in flight", s.State().MaxInFlight, 50)
			s.Succeeded() // of a worker that looked at watching before
			want(t, "watching at last", s.watching.Load(), false)
			release()
		})
	}
}

func (s *service) failed(m *handler.Delivery) { s.Failed(m) }
func (s *service) succeeded()                 { s.Succeeded() }

// TestRecord: a tick opens the breaker when the failures suffice and enough results follow.
func TestRecord(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		cfg, n := backoff(), 0
		cfg.MinResults = 10
		s := newService(t, Config{Backoff: cfg, Concurrency: 1, MaxInFlight: 50}, func(*handler.Delivery) error {
			if n++; n == 10 {
				return nil
			}
			return errBill
		})
		s.Start()
		l := s.dial(nsqd1)
		s.adjust(true)
		l.flood(1, 9)
		synctest.Wait()
		s.measure()
		want(t, "failures", s.failures.count, 9)
		want(t, "open with 9 results", s.watching.Load(), false)
		l.flood(10, 1)
		synctest.Wait()
		want(t, "open before the tick", s.watching.Load(), false)
		s.measure()
		want(t, "open with 10 results", s.watching.Load(), true)
		want(t, "events", len(s.posted(notify.Backoff)), 1)
		s.measure()
		want(t, "events after another tick", len(s.posted(notify.Backoff)), 1)
	})
	bubble(t, "no breaker", func(t *testing.T) {
		s := newService(t, Config{}, takes(0))
		s.measure()
		want(t, "watching", s.watching.Load(), false)
	})
}
