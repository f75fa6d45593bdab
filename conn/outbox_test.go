package conn_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// Tests of outbox.go.

// TestSettledOnce checks that only the first answer to a message counts.
func TestSettledOnce(t *testing.T) {
	answers := map[string]struct {
		do   func(c *conn.Conn, m *handler.Delivery) bool
		want string
	}{
		"Finish":  {(*conn.Conn).Finish, fin(1)},
		"Requeue": {func(c *conn.Conn, m *handler.Delivery) bool { return c.Requeue(m, time.Second) }, req(1, 1000)},
		"GiveUp":  {(*conn.Conn).GiveUp, fin(1)},
		"Forget":  {(*conn.Conn).Forget, ""},
		"Claim":   {func(_ *conn.Conn, m *handler.Delivery) bool { return m.Claim() }, ""},
	}
	for first, a := range answers {
		for second, b := range answers {
			bubbles(t, first+" and "+second, func(t *testing.T) {
				s := openStream(t, streamOptions{})
				m := s.message(1)
				if !a.do(s.Conn, m) {
					t.Error("the first answer is not taken")
				}
				if b.do(s.Conn, m) || b.do(s.Conn, (*handler.Delivery)(m.Message().WithBody(nil))) {
					t.Error("the second answer is taken")
				}
				wantIs(t, m.Message().Touch(), handler.ErrSettled)
				wantIs(t, s.Touch(m), handler.ErrSettled) // as if the answer came after Message.Touch checked
				s.wantSent(a.want)
				if st := s.Stats(); first != "Claim" && (st.InFlight != 0 || st.Finished+st.Requeued+st.Expired != 1) {
					t.Errorf("stats are %+v", st)
				}
			})
		}
	}
}

// TestDelay checks that a delay is rounded up to milliseconds.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		for i, c := range []struct {
			delay time.Duration
			ms    int64
		}{
			{0, 0}, {-1, 0}, {math.MinInt64, 0}, {1, 1}, {time.Millisecond - 1, 1}, {time.Millisecond, 1}, {time.Millisecond + 1, 2},
			{1500 * time.Microsecond, 2}, {time.Hour, 3_600_000}, {math.MaxInt64, 9_223_372_036_855},
		} {
			if !s.Requeue(s.message(uint64(i)), c.delay) {
				t.Errorf("%v: not requeued", c.delay)
			}
			s.wantSent(req(uint64(i), c.ms))
		}
	})
}

// shortTimeout has a message timeout of 10 s, so answers are due within answerBy.
var shortTimeout = streamOptions{identify: map[string]any{"msg_timeout": 10_000, "max_msg_timeout": 60_000}}

const answerBy = 9750 * time.Millisecond

// TestTooLate checks that after answerBy only a success is sent.
func TestTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, shortTimeout)
		for i := range uint64(6) {
			s.message(i)
		}
		m := s.sink.messages()
		time.Sleep(answerBy - 1)
		if !s.Requeue(m[0], 0) || !s.GiveUp(m[4]) {
			t.Error("not answered, although there was time")
		}
		s.wantSent(req(0, 0) + ", " + fin(4))
		time.Sleep(time.Nanosecond)
		if s.Requeue(m[1], 0) || s.GiveUp(m[5]) {
			t.Error("answered, although it is too late")
		}
		wantIs(t, m[2].Message().Touch(), handler.ErrMessageTimeout)
		if !s.Finish(m[2]) || !s.Forget(m[3]) {
			t.Error("a success is not too late")
		}
		s.wantSent(fin(2))
		if st := s.Stats(); st.InFlight != 0 || st.Finished != 2 || st.Requeued != 1 || st.Expired != 3 || st.Touched != 0 {
			t.Errorf("stats are %+v", st)
		}
	})
}

func TestTouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, shortTimeout)
		m := s.message(1)
		ctx := m.Context()
		<-time.After(6 * time.Second)
		if err := m.Message().Touch(); err != nil {
			t.Error(err)
		}
		s.wantSent(touch(1))
		if by, _ := m.Message().Deadline(); by.Sub(s.start) != 6*time.Second+answerBy {
			t.Errorf("to be answered after %v", by.Sub(s.start))
		}
		<-ctx.Done()
		wantCause(t, ctx, handler.ErrMessageTimeout)
		if at := time.Since(s.start); at != 6*time.Second+answerBy-time.Second {
			t.Errorf("the context ended after %v", at)
		}
		if !s.Requeue(m, 0) {
			t.Error("not requeued, although the touch has made time for it")
		}
		s.wantSent(req(1, 0))
	})
}

// TestTouchAfterLoss checks that no method has an effect on a lost connection.
func TestTouchAfterLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		for i := range uint64(5) {
			s.message(i)
		}
		m := s.sink.messages()
		s.tap.forget()
		s.p.Close()
		_ = s.wait()
		wantIs(t, m[0].Message().Touch(), handler.ErrConnLost)
		if s.Finish(m[0]) || s.Requeue(m[1], 0) || s.Alive() {
			t.Error("something was taken that cannot be sent")
		}
		s.SetQuota(5)
		s.StopDelivery()
		s.CloseWrite()
		s.CancelMessages(handler.ErrShutdown)
		s.wantWritten()
		wantCause(t, m[2].Context(), handler.ErrConnLost)
		if st := s.Stats(); st.Lost != 2 || st.InFlight != 3 || st.Finished+st.Requeued+st.Touched != 0 {
			t.Errorf("stats are %+v", st)
		}
	})
}
