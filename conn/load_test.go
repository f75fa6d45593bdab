package conn_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// Tests of load.go and stats.go.

// TestLoad checks that each call with reset begins a new period.
func TestLoad(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.SetQuota(5)
		synctest.Wait()
		check := func(inFlight, peak int, starved bool, received uint64) {
			t.Helper()
			synctest.Wait()
			if l := s.Load(true); l.InFlight != inFlight || l.Peak != peak || l.Starved != starved || l.Received != received || l.Quota != 5 || l.Held != 5 {
				t.Errorf("load %+v, want %d in flight, peak %d, starved %v, received %d", l, inFlight, peak, starved, received)
			}
		}
		check(0, 0, false, 0)
		msgs := s.deliver(1, 4)
		s.Finish(msgs[0])
		s.Finish(msgs[1])
		check(2, 4, false, 4)
		check(2, 2, false, 4)
		s.deliver(5, 3)
		s.Finish(msgs[2])
		check(4, 5, true, 7)
		check(4, 4, false, 7)
		if !s.Full() {
			t.Error("not full after a message that used up the quota")
		}
		s.Finish(msgs[3])
		s.deliver(8, 1)
		if s.Full() {
			t.Error("full after a message that left room")
		}
		if n := s.Received(); n != 8 {
			t.Errorf("%d received, want 8", n)
		}
	})
}

// TestHeld checks that the RDY in force counts until a lower one is written.
func TestHeld(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.SetQuota(10)
		synctest.Wait()
		msgs := s.deliver(1, 6)
		open := s.tap.holdWrites()
		s.Finish(msgs[0]) // the write loop blocks in this one
		synctest.Wait()
		s.SetQuota(2)
		if l := s.Load(true); l.Held != 10 || l.Quota != 2 {
			t.Errorf("load %+v, want that 10 are held", l)
		}
		open()
		synctest.Wait()
		if l := s.Load(true); l.Held != 5 {
			t.Errorf("load %+v, want that the 5 in flight are held", l)
		}
	})
}

// TestYield checks that a lowered quota is reported once, when RDY is written and the messages in
// flight are within it.
func TestYield(t *testing.T) {
	bubbles(t, "fixed RDY", func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.SetQuota(10)
		s.wantWritten("RDY 10\n")
		msgs := s.deliver(1, 10)
		yielded := func(want int32) {
			t.Helper()
			synctest.Wait()
			if got := s.sink.yielded.Load(); got != want {
				t.Errorf("%d yields, want %d", got, want)
			}
		}
		s.SetQuota(12)
		s.wantWritten("RDY 12\n")
		s.SetQuota(12)
		yielded(0)
		s.SetQuota(4)
		s.wantWritten("RDY 4\n")
		yielded(0)
		for _, m := range msgs[:5] {
			s.Finish(m)
		}
		yielded(0)
		s.SetTimedOut(1) // nsqd no longer counts one of the 5
		yielded(1)
		s.SetTimedOut(0)
		s.Finish(msgs[5])
		s.Finish(msgs[6])
		yielded(1)

		s.SetQuota(3)
		s.SetQuota(2)
		yielded(1)
		s.SetQuota(3) // 3 are in flight
		yielded(2)
		s.SetQuota(0)
		s.Finish(msgs[7])
		s.Forget(msgs[8])
		yielded(2)
		s.Requeue(msgs[9], 0)
		yielded(3)
		s.SetQuota(5)
		yielded(3)
	})
	bubbles(t, "window", func(t *testing.T) {
		s := openWindow(t, 10)
		s.SetQuota(5) // RDY is 1
		synctest.Wait()
		if got := s.sink.yielded.Load(); got != 1 {
			t.Errorf("%d yields of a quota that was not used, want 1", got)
		}
		s.wantWritten("RDY 1\n")
	})
}

// TestYieldIsWritten checks that Yielded is called after the write.
func TestYieldIsWritten(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.SetQuota(10)
		synctest.Wait()
		open := s.tap.holdWrites()
		s.SetQuota(3)
		synctest.Wait()
		if got := s.sink.yielded.Load(); got != 0 {
			t.Errorf("%d yields while the write hangs, want none", got)
		}
		open()
		synctest.Wait()
		if got := s.sink.yielded.Load(); got != 1 {
			t.Errorf("%d yields, want 1", got)
		}
		s.wantWritten("RDY 10\n", "RDY 3\n")
	})
}

// TestSetTimedOut checks that timed-out messages do not count for RDY.
func TestSetTimedOut(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 10)
		for n := range uint64(3) {
			time.Sleep(time.Second)
			s.message(n + 1)
		}
		s.wantRDY(0, 4)
		s.SetTimedOut(2)
		s.wantRDY(4, 2)
		l := s.Load(true)
		if l.InFlight != 1 || l.Quota != 10 {
			t.Errorf("load %+v, want 1 that nsqd counts and a quota of 10", l)
		}
		s.SetTimedOut(0)
		s.wantRDY(2, 4)
	})
}

// TestQuotaIsBounded checks that RDY is between 0 and nsqd's max-rdy-count.
func TestQuotaIsBounded(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openStream(t, streamOptions{identify: map[string]any{"max_rdy_count": 7}})
		if s.MaxRDY() != 7 {
			t.Errorf("max-rdy-count is %d, want 7", s.MaxRDY())
		}
		s.SetQuota(100)
		s.wantWritten("RDY 7\n")
		s.SetQuota(-5)
		s.wantWritten("RDY 0\n")
	})
}
