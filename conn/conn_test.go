package conn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
)

// Tests of conn.go and fault.go.

// TestAbort checks in every state that Serve returns the reason immediately, the message contexts
// end and the socket is closed.
func TestAbort(t *testing.T) {
	states := map[string]func(s *stream){
		"idle":               func(*stream) {},
		"in mid-frame":       func(s *stream) { s.p.Raw([]byte{0, 0}) },
		"write held up":      func(s *stream) { s.tap.SetBuffer(1); s.SetQuota(1); s.Finish(s.last()) },
		"draining":           func(s *stream) { s.StopDelivery() },
		"half-closed":        func(s *stream) { s.CloseWrite() },
		"half-close held up": func(s *stream) { s.tap.SetBuffer(1); s.Finish(s.last()); s.CloseWrite() },
		"messages cancelled": func(s *stream) { s.CancelMessages(handler.ErrConnLost) },
	}
	for name, state := range states {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{})
			ctx := s.message(1).Context()
			derived, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			state(s)
			synctest.Wait()
			select {
			case <-s.Done():
				t.Error("Done before the end")
			default:
			}
			s.Abort(errReason)
			s.Abort(errors.New("another reason"))
			<-s.Done()
			wantIs(t, s.failed(conn.PhaseStream, 0), errReason)
			wantCause(t, ctx, handler.ErrConnLost)
			wantCause(t, derived, handler.ErrConnLost)
			if _, err := s.tap.Conn.Write(nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the socket is open: %v", err)
			}
			s.CloseWrite() // no effect, like the next call
			s.Abort(nil)
		})
	}
}

func TestAbortBeforeServe(t *testing.T) {
	for name, before := range map[string]func(s *stream){
		"fresh":       func(*stream) {},
		"half-closed": func(s *stream) { s.CloseWrite() },
		"with RDY":    func(s *stream) { s.SetQuota(1) },
	} {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{idle: true})
			before(s)
			s.Abort(errReason)
			if _, err := s.p.Next(); err != io.EOF {
				t.Errorf("nsqd read %v, want the end", err)
			}
			s.ended = make(chan struct{})
			go s.serve()
			wantIs(t, s.failed(conn.PhaseStream, 0), errReason)
		})
	}
}

// TestAbortFromDeliver aborts from the sink, in the read loop.
func TestAbortFromDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *stream
		calls := 0
		s = openStream(t, streamOptions{deliver: func(msgs []handler.Delivery) {
			calls++
			s.Abort(&conn.Error{Addr: address, Phase: conn.PhaseStream, Err: errReason})
		}})
		s.p.Message(fake.ID(1), 1, nil)
		failure := s.failed(conn.PhaseStream, 0)
		if failure.Err != errReason || calls != 1 {
			t.Errorf("error is %v after %d calls", failure, calls)
		}
	})
}

func TestAbortWithoutReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.Abort(nil)
		wantIs(t, s.failed(conn.PhaseStream, 0), net.ErrClosed)
	})
}

// TestServeLate checks that silence counts from the start of Serve.
func TestServeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{idle: true})
		s.p.Message(fake.ID(1), 1, nil)
		time.Sleep(time.Hour)
		s.ended = make(chan struct{})
		go s.serve()
		wantIs(t, s.failed(conn.PhaseStream, time.Hour+2*beat), conn.ErrSilent)
		if len(s.sink.messages()) != 1 {
			t.Error("what was there has not been delivered")
		}
	})
}

func TestCancelMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		m, failed := s.message(1), s.message(2)
		wantCause(t, s.Context(), nil)
		s.CancelMessages(handler.ErrShutdown)
		s.CancelMessages(handler.ErrConnLost)
		late := s.message(3)
		for _, m := range []*handler.Delivery{m, failed, late} {
			wantCause(t, m.Context(), handler.ErrShutdown)
		}
		s.Finish(m)
		s.Requeue(failed, 0)
		s.Requeue(late, 0)
		s.wantSent(strings.Join([]string{fin(1), req(2, 0), req(3, 0)}, ", "))
		s.Abort(nil)
		wantCause(t, late.Context(), handler.ErrShutdown)
	})
}

func TestStopDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		stopped := func() bool {
			synctest.Wait()
			select {
			case <-s.DeliveryStopped():
				return true
			default:
				return false
			}
		}
		m := s.message(1)
		s.StopDelivery()
		s.wantSent("CLS")
		if stopped() {
			t.Error("stopped before nsqd has said so")
		}
		s.Finish(m)
		s.wantSent(fin(1))
		s.p.Response("CLOSE_WAIT")
		if !stopped() {
			t.Error("nsqd has said so")
		}
		s.alive()
	})
}

// TestCloseWrite checks that everything queued is written before the half-close, and that nsqd's
// end is then graceful.
func TestCloseWrite(t *testing.T) {
	for name, o := range layers(t) {
		bubbles(t, name, func(t *testing.T) {
			s, m, open := blockedStream(t, 500, o)
			for _, m := range m[1:499] {
				s.Finish(m)
			}
			s.StopDelivery()
			s.CloseWrite()
			s.CloseWrite()
			if !s.Requeue(m[499], 0) {
				t.Error("not taken, although the half-close is still to come")
			}
			open()
			if !s.p.HalfClosed() {
				t.Error("not half-closed")
			}
			if log := s.p.Log[len(s.p.Log)-501:]; log[0].String() != fin(0) || log[499].String() != "CLS" || log[500].String() != req(499, 0) {
				t.Errorf("nsqd read %v", log)
			}
			time.Sleep(400 * time.Millisecond)
			s.p.Close()
			if err := s.wait(); err != nil || s.at != 400*time.Millisecond {
				t.Errorf("Serve returned %v after %v", err, s.at)
			}
			if s.Alive() {
				t.Error("alive after the end")
			}
			wantCause(t, s.Context(), handler.ErrConnLost)
		})
	}
}

// TestNotConfirmed checks that nsqd has half a second to close its side.
func TestNotConfirmed(t *testing.T) {
	for name, o := range layers(t) {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, o)
			time.Sleep(3 * time.Second)
			s.CloseWrite()
			wantIs(t, s.failed(conn.PhaseClose, 3500*time.Millisecond), conn.ErrNotConfirmed)
		})
	}
}

// TestCloseWriteBlocked checks that the half second includes blocked writes.
func TestCloseWriteBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.tap.SetBuffer(3)
		s.Finish(s.message(1))
		s.CloseWrite()
		wantIs(t, s.failed(conn.PhaseClose, 500*time.Millisecond), conn.ErrNotConfirmed)
	})
}

// TestEndBeforeHalfClose checks that an end before the last write confirms nothing.
func TestEndBeforeHalfClose(t *testing.T) {
	for name, queued := range map[string]bool{"the last write held up": true, "a write held up, another to follow": false} {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{})
			first, second := s.message(1), s.message(2)
			open := s.tap.holdWrites()
			defer open()
			s.Finish(first)
			if queued {
				s.CloseWrite()
				synctest.Wait()
			} else {
				synctest.Wait()
				s.Finish(second)
				s.CloseWrite()
			}
			if err := s.p.Pipe.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			open()
			wantIs(t, s.failed(conn.PhaseStream, 0), io.EOF)
		})
	}
}

// TestAfterHalfClose checks that messages after the half-close are delivered but cannot be
// answered, and that an error or a reset is no confirmation.
func TestAfterHalfClose(t *testing.T) {
	last := fake.Message(0, fake.ID(9), 1, []byte("last"))
	tests := map[string]struct {
		do   func(p *fake.Peer)
		want error
		code string
	}{
		"messages":         {func(p *fake.Peer) { p.Raw(last); p.Close() }, nil, ""},
		"half a message":   {func(p *fake.Peer) { p.Raw(append(last, last[:20]...)); p.Close() }, nil, ""},
		"heartbeats":       {func(p *fake.Peer) { p.Raw(last); p.Heartbeat(); p.Heartbeat(); p.Close() }, nil, ""},
		"CLOSE_WAIT":       {func(p *fake.Peer) { p.Raw(last); p.Response("CLOSE_WAIT"); p.Close() }, nil, ""},
		"a refused answer": {func(p *fake.Peer) { p.Raw(last); p.Error("E_FIN_FAILED"); p.Close() }, nil, ""},
		"a fatal error":    {func(p *fake.Peer) { p.Raw(last); p.Error("E_INVALID x"); p.Close() }, nil, "E_INVALID"},
		"garbage":          {func(p *fake.Peer) { p.Raw(append(last, 0, 0, 0, 0)); p.Close() }, nil, ""},
		"a reset":          {func(p *fake.Peer) { p.Raw(last); synctest.Wait(); p.Reset() }, syscall.ECONNRESET, ""},
	}
	for name, c := range tests {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{})
			held := s.message(1)
			s.CloseWrite()
			synctest.Wait()
			c.do(s.p)
			err := s.wait()
			switch {
			case c.code != "":
				if e, ok := errors.AsType[*conn.ServerError](s.failed(conn.PhaseStream, 0)); !ok || e.Code != c.code {
					t.Errorf("Serve returned %v", err)
				}
			case c.want != nil:
				wantIs(t, s.failed(conn.PhaseStream, 0), c.want)
			case name == "garbage":
				s.failed(conn.PhaseStream, 0)
			case err != nil:
				t.Errorf("Serve returned %v", err)
			}
			m := s.last()
			if string(m.Body) != "last" {
				t.Errorf("delivered %q", m.Body)
			}
			if s.Requeue(m, 0) || s.Finish(held) {
				t.Error("something was taken that cannot be sent")
			}
			if st := s.Stats(); st.Lost != 2 || st.InFlight != 0 {
				t.Errorf("stats are %+v", st)
			}
		})
	}
}

// TestWriteFails checks that the error that nsqd sent before it closed is preferred to a later
// write error.
func TestWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		m := s.message(1)
		open := s.tap.holdReads()
		s.p.Error("E_UNAUTHORIZED AUTH failed")
		s.p.Close()
		s.Finish(m)
		synctest.Wait()
		if s.Alive() || s.Finish(s.message(2)) {
			t.Error("it takes answers after a write has failed")
		}
		time.Sleep(100 * time.Millisecond)
		open()
		if e, ok := errors.AsType[*conn.ServerError](s.failed(conn.PhaseStream, 100*time.Millisecond)); !ok || e.Code != "E_UNAUTHORIZED" {
			t.Errorf("Serve returned %v", s.err)
		}
	})
}

// TestWriteFailsAlone checks that the write error is returned if there is nothing to read.
func TestWriteFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.tap.breakWrites(errReason)
		s.SetQuota(1)
		synctest.Wait()
		s.CloseWrite()
		wantIs(t, s.failed(conn.PhaseStream, 500*time.Millisecond), errReason)
	})
}

// TestWithoutHalfClose checks that a connection without CloseWrite is closed, which is no
// confirmation.
func TestWithoutHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := fake.NewNetwork(t, func(p *fake.Peer) {
			p.Subscribe(nil)
			p.Expect("RDY")
			if _, err := p.Next(); err != io.EOF {
				t.Error("not closed")
			}
		})
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := n.DialContext(ctx, network, addr)
			return struct{ net.Conn }{nc}, err
		}
		c, err := conn.Dial(t.Context(), address, conn.Config{DialContext: dial}, orders)
		if err != nil {
			t.Fatal(err)
		}
		c.SetQuota(1)
		served := make(chan error)
		go func() { served <- c.Serve(new(streamSink)) }()
		synctest.Wait()
		c.CloseWrite()
		if err := <-served; !isErr[*conn.Error](err) {
			t.Errorf("Serve returned %v", err)
		}
		n.Wait()
	})
}

// TestAnswersRaceWithTheEnd checks that nsqd has read exactly the answers accepted before a
// confirmed end.
func TestAnswersRaceWithTheEnd(t *testing.T) {
	for seed := range 30 {
		bubbles(t, fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := openStream(t, streamOptions{})
			const n = 400
			for i := range uint64(n) {
				s.p.Message(fake.ID(i), 1, nil)
			}
			synctest.Wait()
			done := make(chan map[string]bool)
			for g := range 4 {
				go func() {
					taken := make(map[string]bool)
					for i, m := range s.sink.messages() {
						ok := false
						switch (i + seed) % 3 {
						case 0:
							ok = s.Finish(m)
						case 1:
							ok = s.Requeue(m, 0)
						default:
							_ = m.Message().Touch()
							_ = s.Stats()
							s.SetQuota(i)
							ok = s.Finish(m)
						}
						if ok {
							taken[m.ID.String()] = true
						}
						if g == 0 && i == 10*seed {
							s.StopDelivery()
							s.CloseWrite()
						}
					}
					done <- taken
				}()
			}
			read := make(map[string]int)
			for {
				cmd, err := s.p.Next()
				if err != nil {
					break
				}
				if cmd.Name == "FIN" || cmd.Name == "REQ" {
					read[cmd.Params[0]]++
				}
			}
			s.p.Close()
			if err := s.wait(); err != nil {
				t.Error(err)
			}
			taken := 0
			for range 4 {
				for id := range <-done {
					taken++
					if read[id] != 1 {
						t.Errorf("message %s was answered %d times on the wire", id, read[id])
					}
				}
			}
			if taken != len(read) {
				t.Errorf("%d answers were taken, %d read", taken, len(read))
			}
		})
	}
}

// TestAbortRaces calls Abort concurrently with the other methods.
func TestAbortRaces(t *testing.T) {
	for name, o := range layers(t) {
		for i := range 10 {
			bubbles(t, fmt.Sprint(name, " ", i), func(t *testing.T) {
				s := openStream(t, o)
				for i := range uint64(50) {
					s.p.Message(fake.ID(i), 1, nil)
				}
				synctest.Wait()
				done := make(chan struct{})
				work := []func(){
					func() { s.Abort(errReason) },
					func() { s.CloseWrite() },
					func() { s.p.Close() },
					func() { s.StopDelivery(); s.SetQuota(3); s.CancelMessages(errReason) },
					func() {
						for _, m := range s.sink.messages() {
							_ = m.Message().Touch()
							s.Finish(m)
							m.Release()
						}
					},
				}
				for _, f := range work {
					go func() { f(); done <- struct{}{} }()
				}
				for range work {
					<-done
				}
				_ = s.wait()
				if st := s.Stats(); st.InFlight != 0 || s.Alive() {
					t.Errorf("stats are %+v", st)
				}
			})
		}
	}
}
