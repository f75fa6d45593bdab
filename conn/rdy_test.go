package conn_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
)

// Tests of rdy.go.

// TestQuietWindow checks that a quiet connection requests one message beyond those in flight, and
// lowers RDY before the FIN that frees room.
func TestQuietWindow(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 3)
		s.wantWritten("RDY 1\n")
		var msgs []*handler.Delivery
		for n := range uint64(3) {
			time.Sleep(time.Second)
			msgs = append(msgs, s.message(n+1))
			if n < 2 {
				s.wantWritten(fmt.Sprintf("RDY %d\n", n+2))
			}
		}
		s.wantWritten() // 3 in flight: the quota
		s.Finish(msgs[0])
		s.wantWritten(fin(1) + "\n")
		s.Finish(msgs[1])
		s.wantWritten("RDY 2\n" + fin(2) + "\n")
		s.Requeue(msgs[2], 0)
		s.wantWritten("RDY 1\n" + req(3, 0) + "\n")
		time.Sleep(time.Second)
		s.wantWritten()
	})
}

// TestWindowOpens checks that the window grows to the quota in a backlog, and that a nudge resets
// it after a silence, a longer one if the window exceeds nsqd's buffer of some 400 such messages.
func TestWindowOpens(t *testing.T) {
	for quota, silence := range map[int]time.Duration{100: time.Millisecond, 1000: 4 * time.Millisecond} {
		bubbles(t, fmt.Sprint(quota), func(t *testing.T) {
			s := openWindow(t, quota)
			first := uint64(1)
			rdy := s.rdy(0)
			if rdy != 1 {
				t.Errorf("the first RDY is %d, want 1", rdy)
			}
			if rdy = s.backlog(&first, 30); rdy != quota {
				t.Errorf("RDY is %d in a backlog, want the quota %d", rdy, quota)
			}
			time.Sleep(silence - 1)
			s.wantRDY(rdy, quota)
			time.Sleep(time.Nanosecond)
			s.wantRDY(rdy, 1)
			time.Sleep(time.Hour - time.Second)
		})
	}
}

// TestNoNudgeWhileBytesArrive checks that arriving bytes, which may be the backlog, prevent a
// nudge.
func TestNoNudgeWhileBytesArrive(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 100)
		first := uint64(1)
		s.backlog(&first, 30)
		s.wantRDY(100, 100)
		frame := fake.Message(0, fake.ID(first), 1, make([]byte, 4000))
		for i := range frame {
			s.p.Raw(frame[i : i+1])
			time.Sleep(900 * time.Microsecond)
		}
		if got := len(s.sink.messages()); got != int(first) {
			t.Fatalf("%d messages, want %d", got, first)
		}
		s.wantRDY(100, 100)
		time.Sleep(100 * time.Microsecond)
		s.wantRDY(100, 2) // the last byte was 1 ms ago
	})
}

// TestNudgeKeepsInFlight checks that a nudge sets RDY to one more than in flight.
func TestNudgeKeepsInFlight(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 100)
		first := uint64(1)
		s.backlog(&first, 30)
		s.rdy(0)
		s.deliver(first, 30)
		s.wantRDY(100, 100)
		time.Sleep(time.Millisecond)
		s.wantRDY(100, 31)
	})
}

// TestWindowIsRemembered checks that a window grows back quickly after a nudge if the backlog is
// still there.
func TestWindowIsRemembered(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 1000)
		first := uint64(1)
		s.backlog(&first, 30)
		s.wantRDY(1000, 1000)
		time.Sleep(5 * time.Millisecond)
		s.wantRDY(1000, 1)
		if rdy := s.backlog(&first, 4); rdy < 200 { // a new window would be 4
			t.Errorf("RDY is %d after 4 quick rounds, want about as much as before the nudge", rdy)
		}
	})
}

// TestNoRDYAfterCLSWithWindow checks that no setting causes an RDY after CLS.
func TestNoRDYAfterCLSWithWindow(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 10)
		s.wantWritten("RDY 1\n")
		m := s.message(1)
		s.wantWritten("RDY 2\n")
		s.StopDelivery()
		s.wantWritten("CLS\n")
		s.SetQuota(100)
		s.SetQuota(0)
		s.SetTimedOut(1)
		s.Finish(m)
		s.wantWritten(fin(1) + "\n")
		time.Sleep(time.Second)
		s.wantWritten()
	})
}

// TestNudgeAfterAnswers checks the nudge after answers have made room without an RDY: nsqd may
// buffer from then on.
func TestNudgeAfterAnswers(t *testing.T) {
	bubbles(t, "", func(t *testing.T) {
		s := openWindow(t, 4)
		first := uint64(1)
		s.backlog(&first, 20)
		s.wantRDY(4, 4)
		msgs := s.deliver(first, 4)
		time.Sleep(10 * time.Millisecond) // nsqd can send nothing, so no nudge is needed
		s.wantRDY(4, 4)
		for _, m := range msgs {
			s.Finish(m)
			synctest.Wait()
		}
		time.Sleep(10 * time.Millisecond)
		s.wantRDY(4, 1)
	})
}
