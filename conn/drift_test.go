package conn_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Tests of drift.go.

// refuseFIN sends nsqd's answer to a FIN of a message that is not in flight.
func (s *stream) refuseFIN(id uint64) {
	s.p.Error("E_FIN_FAILED " + fin(id) + " failed ID not in flight")
	synctest.Wait()
}

// TestRefusedRaisesRDY: an answer that was in time and is refused means that nsqd counts one more than there is.
func TestRefusedRaisesRDY(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 3)
		s.wantWritten("RDY 1\n")
		m := s.message(1)
		s.Finish(m)
		s.wantWritten("RDY 2\n", "RDY 1\n"+fin(1)+"\n")
		s.refuseFIN(1)
		s.wantWritten("RDY 2\n")
		if allowance, cause := s.Drift(); allowance != 1 || cause == nil || !strings.Contains(cause.Error(), "E_FIN_FAILED") {
			t.Errorf("drift %d, %v", allowance, cause)
		}
		st := s.Stats()
		if st.Allowance != 1 || st.Drifted != 1 || st.Refused != 1 || st.RDY != 2 {
			t.Errorf("stats %+v", st)
		}
		s.p.Error("E_REQ_FAILED " + "REQ x failed")
		s.wantWritten("RDY 3\n")
		if l := s.Load(false); l.Held != 3 || l.Allowance != 2 || !l.Drifted || l.Stale {
			t.Errorf("load %+v, want the quota to be held", l)
		}
		s.SetQuota(0)
		s.wantWritten("RDY 0\n")
		if n := s.sink.yielded.Load(); n != 1 {
			t.Errorf("yielded %d times", n)
		}
		s.SetQuota(1)
		s.wantWritten("RDY 3\n")
		time.Sleep(250 * time.Millisecond)
		if l := s.Load(false); !l.Stale {
			t.Errorf("load %+v, want it to be stale", l)
		}
	})
}

// TestAllowanceEnds: more messages than the allowance leaves room for prove it wrong.
func TestAllowanceEnds(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 3)
		for id := range uint64(4) {
			s.refuseFIN(id)
		}
		s.wantRDY(0, 5)
		time.Sleep(10 * time.Millisecond)
		s.deliver(10, 3)
		if st := s.Stats(); st.Allowance != 2 || st.RDY != 5 { // 3 in flight, the quota
			t.Errorf("stats %+v", st)
		}
		time.Sleep(10 * time.Millisecond)
		s.deliver(20, 2)
		if st := s.Stats(); st.Allowance != 0 || st.RDY != 3 {
			t.Errorf("stats %+v", st)
		}
	})
}

// TestLateFINIsNoDrift: nsqd refuses the FIN of a message that has timed out, and has counted it down.
func TestLateFINIsNoDrift(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 10)
		late := s.message(1)
		other := s.message(2)
		for range 3 {
			time.Sleep(s.Terms().MessageTimeout / 3)
			s.p.Heartbeat()
		}
		s.message(3)
		s.Finish(other)
		finishEnded(s, late)
		synctest.Wait()
		s.refuseFIN(1)
		s.refuseFIN(2)
		if st := s.Stats(); st.Allowance != 0 || st.Drifted != 0 || st.Refused != 2 {
			t.Errorf("stats %+v", st)
		}
		s.Finish(s.last())
		synctest.Wait()
		s.refuseFIN(3)
		if st := s.Stats(); st.Allowance != 1 || st.Drifted != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

// TestProbe raises RDY for moments, not while the quota is 0, and ends with a message.
func TestProbe(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 3)
		s.wantWritten("RDY 1\n")
		s.Probe()
		s.Probe()
		time.Sleep(13 * time.Millisecond)
		s.wantWritten("RDY 2\n", "RDY 1\n", "RDY 3\n", "RDY 1\n", "RDY 4\n") // at 0, 3, 6, 9, 12 ms
		s.SetQuota(0)
		s.wantWritten("RDY 0\n")
		time.Sleep(time.Second)
		s.wantWritten()
		s.SetQuota(3)
		s.wantWritten("RDY 4\n")
		time.Sleep(2 * time.Millisecond)
		s.wantWritten("RDY 1\n")
		if l := s.Load(false); !l.Probing || l.Stale {
			t.Errorf("load %+v", l)
		}
		s.message(1)
		time.Sleep(time.Second)
		if l := s.Load(false); l.Probing || !l.Stale || !l.Drifted {
			t.Errorf("load %+v", l)
		}
		s.rdy(0)
		s.StopDelivery()
		s.Probe()
		time.Sleep(time.Second)
		s.wantWritten("CLS\n")
	})
}

// TestProbeReachesMaxRDY and no more.
func TestProbeReachesMaxRDY(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 5)
		if l := s.Load(false); l.ProbeIn != 10*time.Minute {
			t.Errorf("load %+v", l)
		}
		s.Probe()
		most := 0
		for range 100 {
			time.Sleep(3 * time.Millisecond)
			most = max(most, s.rdy(0))
		}
		if most != 2500 || s.Load(false).Probing {
			t.Errorf("the highest RDY is %d, %+v", most, s.Load(false))
		}
		s.wantRDY(1, 1)
	})
}

// TestMessageUnderAnEarlierRDY: messages that were on their way when RDY fell say nothing about the lower one.
func TestMessageUnderAnEarlierRDY(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 10)
		first := uint64(1)
		s.backlog(&first, 10)
		s.refuseFIN(1)
		s.rdy(0)
		time.Sleep(5 * time.Millisecond) // a nudge
		s.wantRDY(0, 2)
		time.Sleep(100 * time.Millisecond)
		s.deliver(first, 5)
		if st := s.Stats(); st.Allowance != 1 {
			t.Errorf("stats %+v", st)
		}
		time.Sleep(time.Second)
		s.deliver(first+5, 2)
		if st := s.Stats(); st.Allowance != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}
