package conn_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
)

// wantDebt checks what nsqd owes.
func (s *stream) wantDebt(untested, overdue bool) {
	s.t.Helper()
	synctest.Wait()
	if s.Untested() != untested || s.Overdue() != overdue {
		s.t.Errorf("at %v: untested %t, overdue %t, want %t and %t", time.Since(s.start), s.Untested(), s.Overdue(), untested, overdue)
	}
}

// answer answers the oldest publish.
func (s *stream) answer(n int) {
	for range n {
		s.p.Response("OK")
		synctest.Wait()
	}
}

// TestOverdue: an answer is overdue after a second. It is not any more when nsqd has answered all that
// is as old. The next one has a second again.
func TestOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{HeartbeatInterval: time.Minute})
		s.wantDebt(false, false)
		s.publish(t.Context(), "a")
		s.wantDebt(true, false)
		time.Sleep(time.Second - 1)
		s.wantDebt(true, false)
		time.Sleep(time.Nanosecond)
		s.wantDebt(true, true)
		s.answer(1)
		s.wantDebt(false, false)
		time.Sleep(10 * time.Second)
		s.wantDebt(false, false)

		for range 200 { // what took a second is forgotten
			s.publish(t.Context(), "b")
			s.answer(1)
		}
		for range 3 {
			s.publish(t.Context(), "c")
			time.Sleep(400 * time.Millisecond)
			s.publish(t.Context(), "d")
			time.Sleep(600*time.Millisecond - 1)
			s.wantDebt(false, false)
			time.Sleep(time.Nanosecond)
			s.wantDebt(false, true)
			s.answer(1)
			s.wantDebt(false, false)
			s.answer(1)
			for range 200 {
				s.publish(t.Context(), "b")
				s.answer(1)
			}
		}
	})
}

// TestOverdueBacklog: while nsqd works off what it has kept waiting, each answer looks at the next.
func TestOverdueBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{HeartbeatInterval: time.Minute})
		s.publish(t.Context(), "a")
		s.answer(1)
		s.publish(t.Context(), "b")
		time.Sleep(time.Millisecond)
		s.publish(t.Context(), "c")
		time.Sleep(20 * time.Second)
		s.wantDebt(false, true)
		s.answer(1)
		s.wantDebt(false, true) // c is as old
		s.answer(1)
		s.wantDebt(false, false)
	})
}

// TestOverdueSlowNSQD: an nsqd that is always slow has four times what it takes, at most a quarter of
// PublishTimeout.
func TestOverdueSlowNSQD(t *testing.T) {
	for usual, patience := range map[time.Duration]time.Duration{
		100 * time.Millisecond:  time.Second,
		400 * time.Millisecond:  1600 * time.Millisecond,
		1500 * time.Millisecond: 6 * time.Second,
		4 * time.Second:         7500 * time.Millisecond,
	} {
		bubbles(t, usual.String(), func(t *testing.T) {
			s := publishing(t, conn.Config{HeartbeatInterval: time.Minute})
			for range 5 {
				s.publish(t.Context(), "a")
				time.Sleep(usual)
				s.answer(1)
				s.wantDebt(false, false)
			}
			s.publish(t.Context(), "b")
			time.Sleep(patience - 1)
			s.wantDebt(false, false)
			time.Sleep(time.Nanosecond)
			s.wantDebt(false, true)
		})
	}
}

// TestOverdueEnds: an overdue answer is awaited until PublishTimeout, as ever.
func TestOverdueEnds(t *testing.T) {
	for _, timeout := range []time.Duration{500 * time.Millisecond, time.Second, 30 * time.Second} {
		bubbles(t, timeout.String(), func(t *testing.T) {
			s := publishing(t, conn.Config{HeartbeatInterval: time.Minute, PublishTimeout: timeout})
			result := s.publish(t.Context(), "a")
			time.Sleep(timeout - 1)
			synctest.Wait()
			wantPending(t, result)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			wantResult(t, result, conn.ErrUnconfirmed)
			s.failed(conn.PhaseStream, timeout)
		})
	}
}

// TestRecall: what is queued and not sent fails as ErrNotSent, what is sent stays. OnOverdue tells when
// to do that, once each time.
func TestRecall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{HeartbeatInterval: time.Minute})
		var told []time.Duration
		s.OnOverdue(func() { told = append(told, time.Since(s.start)) })
		publish := func(n int) (results []<-chan error) {
			for range n {
				results = append(results, s.publish(t.Context(), "a"))
				synctest.Wait()
			}
			return results
		}
		results := publish(5)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		s.Recall()
		synctest.Wait()
		for i, result := range results {
			if i < 2 { // each in a write of its own
				wantPending(t, result)
			} else {
				wantResult(t, result, conn.ErrNotSent)
			}
		}
		if n := s.Unanswered(); n != 2 {
			t.Errorf("%d unanswered, want 2", n)
		}
		s.Recall()
		s.answer(2)
		for _, result := range results[:2] {
			wantResult(t, result, nil)
		}
		result := publish(1)[0]
		time.Sleep(8 * time.Second)
		synctest.Wait()
		s.answer(1)
		wantResult(t, result, nil)
		if len(told) != 2 || told[0] != time.Second || told[1] != 17500*time.Millisecond {
			t.Errorf("told at %v, want 1s and 17.5s", told)
		}
	})
}

// TestServeWaitsForOverdue: Serve does not return while OnOverdue's function runs, and it is not called
// later.
func TestServeWaitsForOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, abort := range []time.Duration{500 * time.Millisecond, 2 * time.Second} {
			s := publishing(t, conn.Config{HeartbeatInterval: time.Minute})
			told := time.Duration(0)
			s.OnOverdue(func() {
				time.Sleep(5 * time.Second)
				told = time.Since(s.start)
			})
			s.publish(t.Context(), "a")
			time.Sleep(abort)
			s.Abort(nil)
			_ = s.wait()
			ended, want := time.Since(s.start), time.Duration(0)
			if abort > time.Second {
				want = 6 * time.Second
			}
			if told != want || ended != max(want, abort) {
				t.Errorf("aborted at %v: told at %v, ended at %v", abort, told, ended)
			}
		}
	})
}

// TestRecallOfWaiting: a publish that waits for room fails as ErrNotSent, too, and is not queued in the
// room that Recall makes.
func TestRecallOfWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{HeartbeatInterval: time.Minute})
		bodies := []string{"a", "a"} // are sent; the others are queued, or wait
		for range 30 {
			bodies = append(bodies, string(make([]byte, 1<<20)))
		}
		var results []<-chan error
		for _, body := range bodies {
			results = append(results, s.publish(t.Context(), body))
		}
		time.Sleep(time.Second)
		s.wantDebt(true, true)
		s.Recall()
		synctest.Wait()
		for i, result := range results {
			if i < 2 {
				wantPending(t, result)
			} else {
				wantResult(t, result, conn.ErrNotSent)
			}
		}
		if n := s.Unanswered(); n != 2 {
			t.Errorf("%d unanswered, want 2", n)
		}
	})
}

// TestOverdueWrite: a write that makes no progress is overdue like an answer: a frozen nsqd reads nothing.
// It is not when nsqd reads on.
func TestOverdueWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := publishing(t, conn.Config{HeartbeatInterval: time.Minute, PublishTimeout: 10 * time.Second})
		result := s.publish(t.Context(), string(make([]byte, 1<<20)))
		queued := s.publish(t.Context(), "a")
		time.Sleep(time.Second - 1)
		s.wantDebt(true, false)
		time.Sleep(time.Nanosecond)
		s.wantDebt(true, true)
		s.Recall()
		wantResult(t, queued, conn.ErrNotSent)
		time.Sleep(20 * time.Second) // the time for the answer begins after the write
		wantPending(t, result)
		s.published()
		s.wantDebt(true, false)
		time.Sleep(time.Second)
		s.wantDebt(true, true)
		s.answer(1)
		s.wantDebt(false, false)
		wantResult(t, result, nil)
	})
}
