package conn_test

import (
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
)

// finishes is a work that answers every message with FIN.
func finishes(t *conn.Turn, runs [][]handler.Delivery) (relieved bool) {
	for _, msgs := range runs {
		for i := range msgs {
			msgs[i].End()
		}
		msgs[0].Source().(*conn.Conn).FinishEnded(msgs)
	}
	t.Flush()
	return false
}

// stuck is a work that hangs at the first message until it is relieved and released; it finishes the
// others.
type stuck struct {
	turns   chan *conn.Turn // each that hangs
	release chan struct{}
	left    atomic.Int32 // works that have ended relieved
}

func newStuck() *stuck {
	return &stuck{turns: make(chan *conn.Turn, 10), release: make(chan struct{})}
}

func (s *stuck) work(t *conn.Turn, runs [][]handler.Delivery) (relieved bool) {
	if len(s.turns) > 0 || s.left.Load() > 0 {
		return finishes(t, runs)
	}
	s.turns <- t
	<-s.release
	s.left.Add(1)
	m := &runs[0][0]
	m.Source().(*conn.Conn).Finish(m)
	return true
}

// TestWork: what a worker answers is written together, by its goroutine, before more is read.
func TestWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{work: finishes})
		s.message(1)
		s.wantWritten(lines(fin(1)))
		s.deliver(2, 3)
		s.wantWritten(lines(fin(2), fin(3), fin(4)))
		check.Want(t, "writes", s.Stats().Writes, 2)
		s.CloseWrite()
		synctest.Wait()
		s.p.Close()
		check.WantErr(t, "error of Serve", s.wait(), nil)
	})
}

// TestWorkDeclined: what a worker leaves to others is answered as usual.
func TestWorkDeclined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{work: func(*conn.Turn, [][]handler.Delivery) bool { return false }})
		m := s.message(1)
		s.alive()
		s.tap.forget()
		s.Finish(m)
		s.wantWritten(lines(fin(1)))
	})
}

// TestRelieve: nothing is read or written while a worker hangs, until it is relieved; then everything is.
func TestRelieve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStuck()
		s := openStream(t, streamOptions{work: w.work})
		s.message(1)
		turn := <-w.turns
		w.turns <- turn
		s.p.Heartbeat()
		s.p.Message(fake.ID(2), 1, []byte("x"))
		synctest.Wait()
		check.Want(t, "messages before", len(s.sink.messages()), 1)
		s.wantWritten()
		turn.Relieve()
		synctest.Wait()
		if got := strings.Join(s.tap.written(), ""); got != "NOP\n"+lines(fin(2)) && got != lines(fin(2))+"NOP\n" {
			t.Errorf("wrote %q", got)
		}
		close(w.release)
		s.wantWritten(lines(fin(1)))
		s.message(3)
		s.wantWritten(lines(fin(3)))
		s.CloseWrite()
		synctest.Wait()
		s.p.Close()
		check.WantErr(t, "error of Serve", s.wait(), nil)
	})
}

// TestRelieveInFlush: a worker that is relieved while it writes writes to the end, and nobody else writes
// meanwhile.
func TestRelieveInFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := make(chan *conn.Turn, 1)
		var ended atomic.Bool
		s := openStream(t, streamOptions{work: func(turn *conn.Turn, runs [][]handler.Delivery) bool {
			select {
			case turns <- turn:
				finishes(turn, runs)
				ended.Store(true)
				return true
			default:
				return finishes(turn, runs)
			}
		}})
		synctest.Wait() // the write loop sleeps
		open := s.tap.holdWrites()
		s.p.Message(fake.ID(1), 1, []byte("x"))
		synctest.Wait()
		turn := <-turns
		turns <- turn
		turn.Relieve()
		s.p.Heartbeat()
		s.p.Message(fake.ID(2), 1, []byte("x"))
		s.p.Message(fake.ID(3), 1, []byte("x"))
		synctest.Wait()
		check.Want(t, "messages", len(s.sink.messages()), 3)
		s.wantWritten()
		open()
		synctest.Wait()
		check.Want(t, "the first work has ended", ended.Load(), true)
		got := s.tap.written()
		check.Want(t, "first write", got[0], lines(fin(1)))
		check.Want(t, "bytes of all others", len(strings.Join(got[1:], "")), len(lines(fin(2), fin(3))+"NOP\n"))
		s.message(4)
		s.wantWritten(lines(fin(4)))
	})
}

// TestEndWhileWorking: a connection can stop, close and be aborted while a worker hangs.
func TestEndWhileWorking(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(s *stream)
		want string // written before the worker is relieved
		err  error
	}{
		"close": {func(s *stream) { s.CloseWrite() }, "", &conn.Error{}},
		"stop":  {func(s *stream) { s.StopDelivery(); s.CloseWrite() }, "CLS\n", &conn.Error{}},
		"abort": {func(s *stream) { s.Abort(errReason) }, "", errReason},
	} {
		bubbles(t, name, func(t *testing.T) {
			w := newStuck()
			s := openStream(t, streamOptions{work: w.work})
			s.message(1)
			turn := <-w.turns
			tt.end(s)
			synctest.Wait()
			check.Want(t, "written", strings.Join(s.tap.written(), ""), tt.want)
			time.Sleep(time.Minute)
			turn.Relieve()
			if err := s.wait(); err == nil || tt.err == errReason && !errors.Is(err, errReason) {
				t.Errorf("Serve returned %v", err)
			}
			close(w.release)
		})
	}
}

// TestWorkGoexit: a worker whose goroutine ends is relieved before, or its connection ends.
func TestWorkGoexit(t *testing.T) {
	for name, relieve := range map[string]bool{"relieved": true, "not relieved": false} {
		bubbles(t, name, func(t *testing.T) {
			first := true
			s := openStream(t, streamOptions{work: func(turn *conn.Turn, runs [][]handler.Delivery) bool {
				if !first {
					return finishes(turn, runs)
				}
				if first = false; relieve {
					turn.Relieve()
				}
				runtime.Goexit()
				return false
			}})
			s.message(1)
			if !relieve {
				if !isErr[*handler.PanicError](s.wait()) {
					t.Errorf("Serve returned %v", s.err)
				}
				return
			}
			s.message(2)
			s.wantWritten(lines(fin(2)))
		})
	}
}

// TestFlushPanics: a net.Conn that fails while a worker writes ends the connection.
func TestFlushPanics(t *testing.T) {
	for how, fault := range faulty {
		bubbles(t, how, func(t *testing.T) {
			s := openStream(t, streamOptions{work: finishes})
			s.tap.mu.Lock()
			s.tap.fail = fault.do
			s.tap.mu.Unlock()
			s.p.Message(fake.ID(1), 1, []byte("x"))
			wantPanicError(t, s.wait(), conn.PhaseStream, fault.want)
		})
	}
}

// TestRelievedFlushFails: a net.Conn that fails in the write of a worker that was relieved ends the
// connection.
func TestRelievedFlushFails(t *testing.T) {
	for how, fault := range faulty {
		bubbles(t, how, func(t *testing.T) {
			turns := make(chan *conn.Turn, 1)
			s := openStream(t, streamOptions{work: func(turn *conn.Turn, runs [][]handler.Delivery) bool {
				turns <- turn
				finishes(turn, runs)
				return true
			}})
			synctest.Wait() // the write loop sleeps
			open := s.tap.holdWrites()
			s.p.Message(fake.ID(1), 1, []byte("x"))
			synctest.Wait()
			(<-turns).Relieve()
			s.tap.mu.Lock()
			s.tap.fail = fault.do
			s.tap.mu.Unlock()
			open()
			wantPanicError(t, s.wait(), conn.PhaseStream, fault.want)
		})
	}
}

// TestFlushFailsInCloseWrite: a write that fails while the connection is being closed is no orderly end.
func TestFlushFailsInCloseWrite(t *testing.T) {
	for name, w := range map[string]work{"worker": finishes, "write loop": nil} {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{work: w})
			synctest.Wait()
			open := s.tap.holdWrites()
			if m := s.message(1); w == nil {
				s.Finish(m)
			}
			synctest.Wait()
			s.CloseWrite()
			synctest.Wait()
			s.tap.breakWrites(errReason)
			open()
			synctest.Wait()
			s.p.Close()
			if s.wait() == nil {
				t.Error("Serve returned nil, though the FIN was not written")
			}
		})
	}
}

// TestOthersWhileWorking: what others queue while a worker hangs is written at once.
func TestOthersWhileWorking(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(s *stream, m *handler.Delivery)
		want string
	}{
		"requeue":       {func(s *stream, m *handler.Delivery) { s.Requeue(m, 0) }, req(1, 0)},
		"touch":         {func(s *stream, m *handler.Delivery) { _ = m.Message().Touch() }, touch(1)},
		"lower quota":   {func(s *stream, _ *handler.Delivery) { s.SetQuota(0) }, "RDY 0"},
		"stop delivery": {func(s *stream, _ *handler.Delivery) { s.StopDelivery() }, "CLS"},
	} {
		bubbles(t, name, func(t *testing.T) {
			w := newStuck()
			s := openStream(t, streamOptions{work: func(turn *conn.Turn, runs [][]handler.Delivery) bool {
				if string(runs[0][0].Body) == "body 1" { // left to others
					return false
				}
				return w.work(turn, runs)
			}})
			s.SetQuota(10)
			m := s.message(1)
			s.message(2)
			s.tap.forget()
			tt.do(s, m)
			s.wantWritten(tt.want + "\n")
			(<-w.turns).Relieve()
			close(w.release)
		})
	}
}

// TestReceivedWhileWorking: nsqd's message timeout runs while a worker is busy, so what is read after that
// counts as received before, however many reads it takes.
func TestReceivedWhileWorking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		s := openStream(t, streamOptions{work: func(turn *conn.Turn, runs [][]handler.Delivery) bool {
			if first {
				first = false
				time.Sleep(3 * time.Second)
			}
			return finishes(turn, runs)
		}})
		time.Sleep(time.Second)
		s.p.Message(fake.ID(1), 1, []byte("x"))
		time.Sleep(2 * time.Second)
		for n := range 60 {
			s.p.Message(fake.ID(uint64(2+n)), 1, make([]byte, 200))
		}
		time.Sleep(2 * time.Second)
		for _, m := range s.sink.messages() {
			check.Want(t, "received while it worked", m.Received().Sub(s.start), time.Second)
		}
		check.Want(t, "received soon after it worked", s.message(100).Received().Sub(s.start), 5*time.Second)
		time.Sleep(5 * time.Second)
		check.Want(t, "received later", s.message(101).Received().Sub(s.start), 10*time.Second)
	})
}

// TestNoWorkWithShortHeartbeats: a sink does not work if nsqd could miss heartbeats meanwhile.
func TestNoWorkWithShortHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		works := 0
		s := openStream(t, streamOptions{cfg: conn.Config{HeartbeatInterval: 4 * time.Second}, work: func(*conn.Turn, [][]handler.Delivery) bool {
			works++
			return false
		}})
		s.Finish(s.message(1))
		s.wantWritten(lines(fin(1)))
		check.Want(t, "works", works, 0)
	})
}
