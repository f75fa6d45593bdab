package conn_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestSuspended: after a suspension, in which only the wall clock goes on, nsqd may have delivered the
// message again. So nothing is sent that would hit that delivery. A success is still told.
func TestSuspended(t *testing.T) {
	for name, tt := range map[string]struct {
		leap   time.Duration // of the wall clock
		behind bool          // a heartbeat comes before the answers
		want   string
	}{
		"none":                      {0, false, touch(1) + ", " + req(2, 0) + ", " + fin(3) + ", " + fin(4)},
		"short":                     {time.Second - 1, false, touch(1) + ", " + req(2, 0) + ", " + fin(3) + ", " + fin(4)},
		"backwards":                 {-time.Hour, false, touch(1) + ", " + req(2, 0) + ", " + fin(3) + ", " + fin(4)},
		"within the timeout":        {30 * time.Second, false, touch(1) + ", " + req(2, 0) + ", " + fin(3) + ", " + fin(4)},
		"beyond it":                 {55 * time.Second, false, fin(3)},
		"beyond it, with heartbeat": {55 * time.Second, true, fin(3)},
		"a day":                     {24 * time.Hour, false, fin(3)},
	} {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{})
			msgs := s.deliver(1, 4)
			time.Sleep(10 * time.Second)
			s.SetSkew(tt.leap)
			if tt.behind {
				s.alive()
			}
			_ = msgs[0].Message().Touch()
			s.Requeue(msgs[1], 0)
			s.Finish(msgs[2])
			s.GiveUp(msgs[3])
			s.wantSent(tt.want)
			left := 1 // the touched one
			if tt.want == fin(3) && !tt.behind {
				left = 0 // nobody may answer by a deadline that nsqd does not know
			}
			if st := s.Stats(); st.InFlight != left {
				t.Errorf("%d are in flight, want %d: %+v", st.InFlight, left, st)
			}
			if m := s.message(5); !s.Requeue(m, 0) { // read after the leap
				t.Error("the next message is not answered")
			}
			s.wantSent(req(5, 0))
		})
	}
}

// TestSuspendedInTheQueue: the leap comes when the answers are queued behind a write that blocks.
func TestSuspendedInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, msgs, open := blockedStream(t, 4, streamOptions{})
		s.Requeue(msgs[1], 0)
		s.Finish(msgs[2])
		if err := msgs[3].Message().Touch(); err != nil {
			t.Fatal(err)
		}
		s.SetSkew(time.Minute)
		synctest.Wait()
		open()
		s.wantSent(fin(0) + ", " + fin(2))
	})
}
