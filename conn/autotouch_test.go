package conn_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
)

// Tests of autotouch.go.

var _ handler.Toucher = (*conn.Conn)(nil)

// stamped records the commands of a stream with their instants.
type stamped struct {
	*stream
	beaten time.Duration // time of the last heartbeat

	mu  sync.Mutex
	log []string
}

func openStamped(t *testing.T, o streamOptions) *stamped {
	t.Helper()
	s := &stamped{stream: openStream(t, o)}
	go func() {
		for {
			cmd, err := s.p.Next()
			if err != nil {
				return
			}
			if cmd.Name == "NOP" {
				continue
			}
			s.mu.Lock()
			s.log = append(s.log, stamp(time.Since(s.start), cmd.String()))
			s.mu.Unlock()
		}
	}()
	return s
}

func stamp(at time.Duration, command string) string { return fmt.Sprint(at, " ", command) }

// until sleeps until the given instant, with heartbeats.
func (s *stamped) until(at time.Duration) {
	for {
		now := time.Since(s.start)
		if now-s.beaten >= 20*time.Second {
			s.beaten = now
			s.p.Heartbeat()
			synctest.Wait()
		}
		if now >= at {
			return
		}
		time.Sleep(min(at-now, 20*time.Second))
		synctest.Wait()
	}
}

// wantLog checks the commands since the last call, in any order within one instant.
func (s *stamped) wantLog(want ...string) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	got := s.log
	s.log = nil
	s.mu.Unlock()
	for _, line := range got {
		if i := slices.Index(want, line); i >= 0 {
			want = slices.Delete(want, i, i+1)
		} else {
			s.t.Errorf("sent too much: %s", line)
		}
	}
	for _, line := range want {
		s.t.Errorf("not sent: %s", line)
	}
}

// wantScheduled checks how many messages are kept touched.
func (s *stamped) wantScheduled(want int) {
	s.t.Helper()
	if got, _ := s.Scheduled(); got != want {
		s.t.Errorf("%d messages are scheduled, want %d", got, want)
	}
}

// touches returns TOUCHes of message n at the given instants.
func touches(n uint64, at ...time.Duration) (log []string) {
	for _, at := range at {
		log = append(log, stamp(at, touch(n)))
	}
	return log
}

// each returns the instants from, from+step, … up to to.
func each(from, step, to time.Duration) (at []time.Duration) {
	for ; from <= to; from += step {
		at = append(at, from)
	}
	return at
}

// TestKeepTouched (F16) checks the instants of TOUCHes, up to the last one that gains time.
func TestKeepTouched(t *testing.T) {
	const sec, quarter = time.Second, 15 * time.Minute
	for name, c := range map[string]struct {
		timeout, longest time.Duration
		received, began  time.Duration // the handler begins
		ends             time.Duration // the context ends on its own
		want             []time.Duration
	}{
		"nsqd's defaults":            {60 * sec, quarter, 0, 0, quarter - 1250*time.Millisecond, each(30*sec, 30*sec, 840*sec)},
		"received later":             {60 * sec, quarter, 7 * sec, 7 * sec, quarter + 5750*time.Millisecond, each(37*sec, 30*sec, 847*sec)},
		"it has waited":              {60 * sec, 100 * sec, 0, 20 * sec, 98750 * time.Millisecond, each(30*sec, 30*sec, 60*sec)},
		"it has waited for half":     {60 * sec, 100 * sec, 0, 30 * sec, 98750 * time.Millisecond, each(30*sec, 30*sec, 60*sec)},
		"it has waited for long":     {60 * sec, 130 * sec, 0, 45 * sec, 128750 * time.Millisecond, each(45*sec, 30*sec, 75*sec)},
		"to the maximum in one":      {60 * sec, 90 * sec, 0, 0, 88750 * time.Millisecond, each(30*sec, 1, 30*sec)},
		"the maximum is the timeout": {60 * sec, 60 * sec, 0, 0, 58750 * time.Millisecond, nil},
		"a short timeout":            {100 * time.Millisecond, sec, 0, 0, 965 * time.Millisecond, each(50*time.Millisecond, 50*time.Millisecond, 900*time.Millisecond)},
		"too late":                   {60 * sec, 100 * sec, 0, 59750 * time.Millisecond, 58750 * time.Millisecond, nil},
	} {
		bubbles(t, name, func(t *testing.T) {
			s := openStamped(t, streamOptions{identify: map[string]any{"msg_timeout": c.timeout.Milliseconds(), "max_msg_timeout": c.longest.Milliseconds()}})
			s.until(c.received)
			m := s.message(1)
			s.until(c.began)
			stop := s.KeepTouched(m)
			s.until(c.ends - 1)
			if c.began < c.ends {
				wantCause(t, m.Context(), nil)
			}
			s.until(c.ends)
			wantCause(t, m.Context(), handler.ErrMessageTimeout)
			s.until(c.longest + 2*c.timeout)
			s.wantLog(touches(1, c.want...)...)
			s.wantScheduled(0)
			stop()
			stop()
		})
	}
}

// TestKeepTouchedEnds checks that no TOUCH follows stop or the answer, whichever comes first.
func TestKeepTouchedEnds(t *testing.T) {
	for name, end := range map[string]func(s *stamped, m *handler.Delivery, stop func()){
		"stopped":            func(_ *stamped, _ *handler.Delivery, stop func()) { stop() },
		"stopped twice":      func(_ *stamped, _ *handler.Delivery, stop func()) { stop(); stop() },
		"finished":           func(s *stamped, m *handler.Delivery, _ func()) { s.Finish(m) },
		"requeued":           func(s *stamped, m *handler.Delivery, _ func()) { s.Requeue(m, 0) },
		"forgotten":          func(s *stamped, m *handler.Delivery, _ func()) { s.Forget(m) },
		"released":           func(s *stamped, m *handler.Delivery, stop func()) { s.Finish(m); stop(); m.Release() },
		"nsqd does not wait": func(_ *stamped, m *handler.Delivery, _ func()) { m.Expire() },
	} {
		bubbles(t, name, func(t *testing.T) {
			s := openStamped(t, streamOptions{})
			m, other := s.message(1), s.message(2)
			stop := s.KeepTouched(m)
			defer s.KeepTouched(other)()
			s.until(60 * time.Second)
			s.wantLog(append(touches(1, 30*time.Second, 60*time.Second), touches(2, 30*time.Second, 60*time.Second)...)...)
			end(s, m, stop)
			synctest.Wait()
			s.log = nil
			s.until(90 * time.Second)
			s.wantScheduled(1)
			s.until(120 * time.Second)
			s.wantLog(touches(2, 90*time.Second, 120*time.Second)...)
			stop()
			s.wantScheduled(1)
		})
	}
}

// TestKeepTouchedAgain checks that a timer that fired for nothing is set for the next message,
// which may be due before others.
func TestKeepTouchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStamped(t, streamOptions{})
		s.KeepTouched(s.message(1))()
		s.until(45 * time.Second)
		s.wantLog()
		if _, timer := s.Scheduled(); timer {
			t.Error("the timer is set for nobody")
		}
		waiting := s.message(2)
		s.until(55 * time.Second)
		defer s.KeepTouched(s.message(3))() // due at 85 s
		defer s.KeepTouched(waiting)()      // due at 75 s
		s.until(90 * time.Second)
		s.wantLog(append(touches(2, 75*time.Second), touches(3, 85*time.Second)...)...)
	})
}

// TestKeepTouchedWithTouch checks that the handler's own TOUCHes do no harm and postpone a schedule
// that starts later.
func TestKeepTouchedWithTouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStamped(t, streamOptions{})
		m := s.message(1)
		s.until(20 * time.Second)
		_ = m.Message().Touch()
		stop := s.KeepTouched((*handler.Delivery)(m.Message().WithBody(nil)))
		s.until(60 * time.Second)
		_ = m.Message().Touch()
		s.until(90 * time.Second)
		stop()
		s.wantLog(touches(1, 20*time.Second, 50*time.Second, 60*time.Second, 80*time.Second)...)
		s.until(139 * time.Second) // 60 s after the last TOUCH, less margin and grace
		wantCause(t, m.Context(), handler.ErrMessageTimeout)
		if got := time.Since(s.start); m.Answerable() != (got < 139750*time.Millisecond) {
			t.Errorf("answerable after %v: %v", got, m.Answerable())
		}
	})
}

// TestKeepTouchedMany checks the TOUCHes of many messages with random times of receipt, waiting and
// handling.
func TestKeepTouchedMany(t *testing.T) {
	const n, sec = 200, time.Second
	for seed := range uint64(10) {
		bubbles(t, fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			s := openStamped(t, streamOptions{})
			var want []string
			type event struct {
				at time.Duration
				do func()
			}
			var events []event
			for i := range uint64(n) {
				received := time.Duration(random.Int64N(int64(300 * sec)))
				began := received + time.Duration(random.Int64N(int64(50*sec)))*time.Duration(random.IntN(2))
				ended := began + time.Duration(random.Int64N(int64(200*sec))) + 1
				var m *handler.Delivery
				var stop func()
				events = append(events,
					event{received, func() { m = s.message(i) }},
					event{began, func() { stop = s.KeepTouched(m) }},
					event{ended, func() { stop(); s.Finish(m) }})
				want = append(want, stamp(ended, fin(i)))
				for at := max(received+30*sec, began); at < ended; at += 30 * sec {
					want = append(want, stamp(at, touch(i)))
				}
			}
			slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
			for _, e := range events {
				s.until(e.at)
				e.do()
			}
			s.wantLog(want...)
			s.wantScheduled(0)
			if st := s.Stats(); st.Finished != n || st.InFlight != 0 || st.Expired != 0 {
				t.Errorf("stats are %+v", st)
			}
		})
	}
}

// TestKeepTouchedTogether checks that TOUCHes of one instant are one write.
func TestKeepTouchedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		var want []string
		open := s.tap.holdReads()
		for n := range uint64(50) {
			s.p.Message(fake.ID(n), 1, nil)
			want = append(want, touch(n))
		}
		synctest.Wait()
		open()
		synctest.Wait()
		for _, m := range s.sink.messages() {
			s.KeepTouched(m)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		got := strings.Join(s.tap.written(), "")
		gotLines := strings.Split(strings.TrimSpace(got), "\n")
		slices.Sort(gotLines)
		slices.Sort(want)
		if !slices.Equal(gotLines, want) {
			t.Errorf("wrote %q", got)
		}
		if st := s.Stats(); st.Touched != 50 {
			t.Errorf("stats are %+v", st)
		}
	})
}

// TestKeepTouchedConnectionLost checks that the timer ends with the connection, that handlers may
// stop later, and that nothing can start.
func TestKeepTouchedConnectionLost(t *testing.T) {
	for name, lose := range map[string]func(s *stamped){
		"aborted":     func(s *stamped) { s.Abort(nil) },
		"closed":      func(s *stamped) { s.CloseWrite(); synctest.Wait(); s.p.Close() },
		"nsqd closes": func(s *stamped) { s.p.Close() },
		"at the very instant": func(s *stamped) {
			time.Sleep(10 * time.Second)
			s.Abort(nil)
		},
	} {
		bubbles(t, name, func(t *testing.T) {
			s := openStamped(t, streamOptions{})
			m := s.message(1)
			var stops []func()
			for n := range uint64(100) {
				stops = append(stops, s.KeepTouched(s.message(2+n)))
			}
			stops = append(stops, s.KeepTouched(m))
			time.Sleep(20 * time.Second)
			lose(s)
			_ = s.wait()
			wantCause(t, m.Context(), handler.ErrConnLost)
			wantIs(t, m.Message().Touch(), handler.ErrConnLost)
			stops = append(stops, s.KeepTouched(m))
			if n, timer := s.Scheduled(); n > 0 || timer {
				t.Errorf("%d messages are scheduled, the timer is set: %v", n, timer)
			}
			for _, stop := range stops {
				stop()
			}
			if n, timer := s.Scheduled(); n > 0 || timer {
				t.Errorf("then %d messages are scheduled, the timer is set: %v", n, timer)
			}
		})
	}
}

// TestKeepTouchedNoTimeout checks that an empty schedule has no timer and that a message without a
// timeout is not scheduled.
func TestKeepTouchedNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStamped(t, streamOptions{})
		m := s.message(1)
		s.Terms().MessageTimeout = 0 // nsqd cannot report this
		stop := s.KeepTouched(m)
		if n, timer := s.Scheduled(); n > 0 || timer {
			t.Errorf("%d messages are scheduled, the timer is set: %v", n, timer)
		}
		s.until(time.Hour)
		s.wantLog()
		stop()
		wantCause(t, m.Context(), nil)
	})
}

// TestKeepTouchedConcurrently starts and stops handlers while the timer fires and the connection
// ends.
func TestKeepTouchedConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStamped(t, streamOptions{identify: map[string]any{"msg_timeout": 100, "max_msg_timeout": 10_000}})
		var done sync.WaitGroup
		for n := range uint64(50) {
			m := s.message(n)
			done.Go(func() {
				for range 20 {
					stop := s.KeepTouched(m)
					time.Sleep(rand.N(120 * time.Millisecond))
					if n%3 == 0 {
						_ = m.Message().Touch()
					}
					done.Go(stop)
					stop()
				}
				s.Finish(m)
			})
		}
		time.Sleep(time.Second)
		s.Abort(nil)
		_ = s.wait()
		if n, timer := s.Scheduled(); n > 0 || timer {
			t.Errorf("%d messages are scheduled, the timer is set: %v", n, timer)
		}
		done.Wait()
	})
}

// TestKeepTouchedAllocates checks that a handler that returns early costs only its schedule entry
// and the stop function.
func TestKeepTouchedAllocates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		m := s.message(1)
		got := testing.AllocsPerRun(200, func() { s.KeepTouched(m)() })
		if got > 2 {
			t.Errorf("%v allocations, want at most 2", got)
		}
	})
}
