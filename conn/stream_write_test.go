package conn_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// TestLoneAnswer goes out at once.
func TestLoneAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		for n := range uint64(3) {
			if !s.Finish(s.message(n)) {
				t.Error("not finished")
			}
			s.wantWritten(fin(n) + "\n")
		}
		if at := time.Since(s.start); at != 0 {
			t.Errorf("it took %v", at)
		}
		if st := s.Stats(); st.Finished != 3 || st.InFlight != 0 || st.Writes != 3 || st.BytesWritten != 63 {
			t.Errorf("stats are %+v", st)
		}
	})
}

// TestAnswersTogether: what was queued while a write went on is one write.
func TestAnswersTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		const n = 1000
		var want strings.Builder
		for i := range uint64(n) {
			s.message(i)
		}
		open := s.tap.holdWrites()
		for i, m := range s.sink.messages() {
			s.Finish(m)
			if i == 0 {
				synctest.Wait()
				continue
			}
			want.WriteString(fin(uint64(i)) + "\n")
		}
		open()
		s.wantWritten(fin(0)+"\n", want.String())
		if st := s.Stats(); st.Finished != n || st.InFlight != 0 || st.Writes != 2 {
			t.Errorf("stats are %+v", st)
		}
	})
}

// blockedStream is a stream with n messages, whose write loop is held up with a FIN of message 0.
func blockedStream(t *testing.T, n int, o streamOptions) (s *stream, msgs []*handler.Delivery, open func()) {
	t.Helper()
	s = openStream(t, o)
	for i := range n {
		s.message(uint64(i))
	}
	synctest.Wait()
	s.tap.forget()
	open = s.tap.holdWrites()
	msgs = s.sink.messages()
	s.Finish(msgs[0])
	synctest.Wait()
	return s, msgs, open
}

func lines(commands ...string) string { return strings.Join(commands, "\n") + "\n" }

// TestRDY: a raise is written after the answers, a lowering before them, and nothing for what did not last.
func TestRDY(t *testing.T) {
	tests := map[string]struct {
		shares []int
		want   string
	}{
		"raised":                 {[]int{20}, lines(fin(1), req(2, 7), "RDY 20")},
		"lowered":                {[]int{5}, lines("RDY 5", fin(1), req(2, 7))},
		"closed":                 {[]int{0}, lines("RDY 0", fin(1), req(2, 7))},
		"negative":               {[]int{-3}, lines("RDY 0", fin(1), req(2, 7))},
		"as it was":              {[]int{10}, lines(fin(1), req(2, 7))},
		"there and back":         {[]int{3, 99, 10}, lines(fin(1), req(2, 7))},
		"the last one":           {[]int{3, 99, 12}, lines(fin(1), req(2, 7), "RDY 12")},
		"above nsqd's maximum":   {[]int{math.MaxInt}, lines(fin(1), req(2, 7), "RDY 2000")},
		"at nsqd's maximum":      {[]int{2000}, lines(fin(1), req(2, 7), "RDY 2000")},
		"lowered from far above": {[]int{5000, 9}, lines("RDY 9", fin(1), req(2, 7))},
	}
	for name, c := range tests {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{identify: map[string]any{"max_rdy_count": 2000}})
			if s.MaxRDY() != 2000 {
				t.Errorf("MaxRDY is %d", s.MaxRDY())
			}
			s.SetQuota(10)
			s.wantWritten("RDY 10\n")
			for i := range uint64(3) {
				s.message(i)
			}
			open := s.tap.holdWrites()
			msgs := s.sink.messages()
			s.Finish(msgs[0])
			synctest.Wait()
			s.Finish(msgs[1])
			for _, n := range c.shares {
				s.SetQuota(n)
			}
			s.Requeue(msgs[2], 7*time.Millisecond)
			open()
			s.wantWritten(lines(fin(0)), c.want)
			if st := s.Stats(); st.RDY != min(max(c.shares[len(c.shares)-1], 0), 2000) {
				t.Errorf("stats are %+v", st)
			}
		})
	}
}

// TestMaxRDY: whatever nsqd claims, a line of RDY is short.
func TestMaxRDY(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{identify: map[string]any{"max_rdy_count": 1<<31 - 1}})
		s.SetQuota(math.MaxInt)
		s.wantWritten("RDY 1048576\n")
		m := s.message(1)
		open := s.tap.holdWrites()
		s.SetQuota(1)
		synctest.Wait()
		s.SetQuota(math.MaxInt)
		s.SetQuota(0)
		s.Finish(m)
		open()
		s.wantWritten("RDY 1\n", lines("RDY 0", fin(1)))
	})
}

// TestRDYBeforeServe: what is set before Serve is written first.
func TestRDYBeforeServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{idle: true})
		s.SetQuota(3)
		s.wantWritten()
		s.ended = make(chan struct{})
		go s.serve()
		s.wantWritten("RDY 3\n")
	})
}

// TestNoRDYAfterCLS, nor a second CLS, which would be fatal.
func TestNoRDYAfterCLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, msgs, open := blockedStream(t, 3, streamOptions{})
		s.SetQuota(5)
		s.Finish(msgs[1])
		s.StopDelivery()
		s.StopDelivery()
		s.Requeue(msgs[2], 0)
		s.SetQuota(0)
		s.SetQuota(7)
		open()
		s.wantWritten(lines(fin(0)), lines(fin(1), "CLS", req(2, 0)))
		s.StopDelivery()
		s.SetQuota(1)
		s.wantWritten()
		s.Finish(s.message(4))
		s.wantWritten(lines(fin(4)))
	})
}

// TestNOP: one for the heartbeats that came while a write went on.
func TestNOP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, msgs, open := blockedStream(t, 2, streamOptions{})
		for range 5 {
			s.p.Heartbeat()
		}
		synctest.Wait()
		s.Finish(msgs[1])
		s.SetQuota(4)
		open()
		s.wantWritten(lines(fin(0)), lines(fin(1), "NOP", "RDY 4"))
		for range 2 {
			s.p.Heartbeat()
			s.wantWritten("NOP\n")
		}
	})
}

// TestSettledOnce: of all answers to a message only the first counts.
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
				wantIs(t, s.Touch(m), handler.ErrSettled) // as one that has passed that check before the answer
				s.wantSent(a.want)
				if st := s.Stats(); first != "Claim" && (st.InFlight != 0 || st.Finished+st.Requeued+st.Expired != 1) {
					t.Errorf("stats are %+v", st)
				}
			})
		}
	}
}

// TestDelay is rounded up to milliseconds.
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

// shortTimeout is a message timeout of 10 s: to be answered within 9.75 s.
var shortTimeout = streamOptions{identify: map[string]any{"msg_timeout": 10_000, "max_msg_timeout": 60_000}}

const answerBy = 9750 * time.Millisecond

// TestTooLate: after answerBy only a success is sent.
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

// TestTooLateInTheQueue: a write that was held up drops what is too late by then, and only that.
func TestTooLateInTheQueue(t *testing.T) {
	for _, c := range []struct {
		held time.Duration
		want string
	}{
		{answerBy - 1, lines(fin(1), req(2, 1), touch(3), fin(4), req(5, 0), touch(6), fin(7), fin(8))},
		{answerBy, lines(fin(1), fin(4), fin(7))},
		{time.Minute, lines(fin(1), fin(4), fin(7))},
	} {
		bubbles(t, c.held.String(), func(t *testing.T) {
			s, m, open := blockedStream(t, 9, streamOptions{identify: shortTimeout.identify, cfg: conn.Config{HeartbeatInterval: time.Minute}})
			s.Finish(m[1])
			s.Requeue(m[2], 1)
			_ = m[3].Message().Touch()
			s.Finish(m[4])
			s.Requeue(m[5], 0)
			_ = m[6].Message().Touch()
			s.Finish(m[7])
			s.GiveUp(m[8])
			time.Sleep(c.held)
			open()
			s.wantWritten(lines(fin(0)), c.want)
			st := s.Stats()
			if late := c.held >= answerBy; late && (st.Finished != 4 || st.Requeued != 0 || st.Touched != 0 || st.Expired != 5 || st.InFlight != 0) ||
				!late && (st.Finished != 5 || st.Requeued != 2 || st.Touched != 2 || st.Expired != 0 || st.InFlight != 2) {
				t.Errorf("stats are %+v", st)
			}
		})
	}
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

// TestTouchNotSent: a TOUCH that is dropped moves nothing. By then nsqd has given the message to somebody else, whom a REQ or another
// TOUCH would hit.
func TestTouchNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, open := blockedStream(t, 6, shortTimeout)
		time.Sleep(5 * time.Second)
		for _, m := range m[1:] {
			if err := m.Message().Touch(); err != nil {
				t.Error(err)
			}
		}
		s.Requeue(m[1], 0) // by a deadline that the TOUCH has moved
		_ = m[2].Message().Touch()
		s.Finish(m[3])
		s.GiveUp(m[5])
		fresh := s.message(6)
		s.Requeue(fresh, 0)
		time.Sleep(answerBy - 5*time.Second)
		open()
		s.wantWritten(lines(fin(0)), lines(fin(3), req(6, 0)))
		if m[2].Message().Touch() == nil {
			t.Error("touched again")
		}
		if s.Requeue(m[2], 0) || s.Requeue(m[4], 0) {
			t.Error("requeued, although nsqd has not been asked to wait")
		}
		s.wantWritten()
		if st := s.Stats(); st.InFlight != 0 || st.Requeued != 1 || st.Touched != 0 || st.Expired != 4 || st.Finished != 2 {
			t.Errorf("stats are %+v", st)
		}
	})
}

// TestTouchAfterLoss says so, and nothing that is done to a connection that is gone has an effect.
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

// TestCompressedWrites: coalescing holds above the compressor, too.
func TestCompressedWrites(t *testing.T) {
	for name, l := range layers(t) {
		bubbles(t, name, func(t *testing.T) {
			s, m, open := blockedStream(t, 100, l)
			for _, m := range m[1:] {
				s.Finish(m)
			}
			open()
			synctest.Wait()
			if got := len(s.tap.written()); got != 2 {
				t.Errorf("%d writes, want 2", got)
			}
			want := make([]string, 100)
			for i := range want {
				want[i] = fin(uint64(i))
			}
			if got := s.sent(); got != strings.Join(want, ", ") {
				t.Errorf("sent %s", got)
			}
			if st := s.Stats(); st.BytesWritten != 100*21+4 {
				t.Errorf("%d bytes written: %s", st.BytesWritten, fmt.Sprint(st))
			}
		})
	}
}
