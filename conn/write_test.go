package conn_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
)

// Tests of write.go.

// TestSingleAnswer checks that a single answer is sent immediately.
func TestSingleAnswer(t *testing.T) {
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

// TestAnswersTogether checks that answers queued during a write are one write.
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

// TestRDY checks that RDY is raised after the answers and lowered before them, and that
// intermediate values are not written.
func TestRDY(t *testing.T) {
	tests := map[string]struct {
		quotas []int
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
			for _, n := range c.quotas {
				s.SetQuota(n)
			}
			s.Requeue(msgs[2], 7*time.Millisecond)
			open()
			s.wantWritten(lines(fin(0)), c.want)
			if st := s.Stats(); st.RDY != min(max(c.quotas[len(c.quotas)-1], 0), 2000) {
				t.Errorf("stats are %+v", st)
			}
		})
	}
}

// TestMaxRDY checks that RDY is bounded, whatever nsqd reports.
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

// TestRDYBeforeServe checks that a quota set before Serve is written first.
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

// TestNoRDYAfterCLS checks that neither RDY nor a second CLS, which would be fatal, follows CLS.
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

// TestNOP checks that one NOP answers all heartbeats that arrived during a write.
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

// TestTooLateInTheQueue checks that a delayed write drops exactly the expired commands.
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

// TestTouchNotSent checks that a dropped TOUCH moves no deadline. nsqd has redelivered the message
// by then, and a REQ or another TOUCH would hit that delivery.
func TestTouchNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, open := blockedStream(t, 6, shortTimeout)
		time.Sleep(5 * time.Second)
		for _, m := range m[1:] {
			if err := m.Message().Touch(); err != nil {
				t.Error(err)
			}
		}
		s.Requeue(m[1], 0) // by a deadline that the TOUCH moved
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

// TestCompressedWrites checks that answers are coalesced above a compressor, too.
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

// TestHeartbeatFlood (M17) checks that heartbeats that arrive together are answered together, and
// that nothing accumulates during a write.
func TestHeartbeatFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		open := s.tap.holdWrites()
		flood := bytes.Repeat(fake.Frame(fake.FrameResponse, []byte("_heartbeat_")), 1000)
		s.p.Heartbeat()
		synctest.Wait() // its answer is being written
		for range 100 {
			s.p.Raw(flood)
		}
		synctest.Wait()
		open()
		// The first write was blocked; all other heartbeats got one answer.
		s.wantWritten("NOP\n", "NOP\n")
	})
}

// TestWriteDeadline checks that a peer that reads nothing ends the connection after one heartbeat
// interval, up to a quarter more, and that no caller waits for it.
func TestWriteDeadline(t *testing.T) {
	for pause, want := range map[time.Duration]time.Duration{
		0:                                    37*time.Second + 500*time.Millisecond,
		5 * time.Second:                      37*time.Second + 500*time.Millisecond,
		7*time.Second + 500*time.Millisecond: 37*time.Second + 500*time.Millisecond,
		7*time.Second + 501*time.Millisecond: 7*time.Second + 501*time.Millisecond + 37*time.Second + 500*time.Millisecond,
		25 * time.Second:                     62*time.Second + 500*time.Millisecond,
	} {
		bubbles(t, pause.String(), func(t *testing.T) {
			s := openStream(t, streamOptions{})
			first, second, third := s.message(1), s.message(2), s.message(3)
			s.tap.SetBuffer(len("RDY 1\n") + 3)
			s.SetQuota(1) // the first write sets the deadline
			synctest.Wait()
			time.Sleep(pause)
			ctx := first.Context()
			s.Finish(first)
			synctest.Wait()
			stop := make(chan struct{})
			go func() { // nsqd is not silent
				defer close(stop)
				for s.p.WriteErr() == nil {
					s.p.Heartbeat()
					time.Sleep(time.Second)
				}
			}()
			if !s.Finish(second) || second.Message().Touch() == nil || !s.Alive() {
				t.Error("answering depends on the write")
			}
			wantIs(t, s.failed(conn.PhaseStream, want), conn.ErrSilent)
			if s.Finish(third) || s.Alive() || ctx.Err() == nil {
				t.Error("it is not over")
			}
			<-stop
		})
	}
}

// TestWriteDeadlineHalfClose checks that the half-close gets a new deadline after a long time
// without writes, since it writes the end of a compressed stream.
func TestWriteDeadlineHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{
			cfg: conn.Config{Compression: conn.Deflate}, identify: map[string]any{"deflate": true},
			upgrade: func(p *fake.Peer) { p.UpgradeDeflate() },
		})
		s.SetQuota(1)
		s.p.Expect("RDY")
		for range 20 {
			time.Sleep(10 * time.Second)
			s.message(1)
		}
		s.CloseWrite()
		if !s.p.HalfClosed() {
			t.Error("no half-close")
		}
		s.p.Close()
		if err := s.wait(); err != nil {
			t.Error(err)
		}
	})
}
