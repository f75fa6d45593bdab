package conn_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/wire"
)

// Tests of skip.go.

// wantUnread checks that message i of the sink has no body, and why.
func (s *stream) wantUnread(i int, id uint64, attempts uint16, size, limit int) {
	s.t.Helper()
	all := s.sink.messages()
	if i >= len(all) {
		s.t.Fatalf("%d messages were delivered, want more than %d", len(all), i)
	}
	m := all[i]
	fault, ok := errors.AsType[*conn.SizeError](m.Fault())
	if !ok || *fault != (conn.SizeError{Size: size, Limit: limit}) {
		s.t.Errorf("the fault of message %d is %v", i, m.Fault())
	}
	if m.Body != nil || m.ID.String() != fake.ID(id) || m.Attempts != attempts {
		s.t.Errorf("message %d is %v with %d bytes, want %s, attempt %d, and no body", i, m, len(m.Body), fake.ID(id), attempts)
	}
}

// TestSkip: a message that is too large is delivered without its body, and its neighbours whole, however
// the bytes arrive.
func TestSkip(t *testing.T) {
	const limit = 100
	for _, size := range []int{limit + 1, 4 << 10, 70 << 10} {
		for _, chunk := range []int{0, 1, 7, 33, 34, 35} {
			if chunk == 1 && size > 4<<10 {
				continue // slow
			}
			bubbles(t, fmt.Sprintf("%d bytes, %d a read", size, chunk), func(t *testing.T) {
				s := openStream(t, streamOptions{cfg: conn.Config{MaxMessageSize: limit}, chunk: chunk})
				s.p.Raw(slices.Concat(
					fake.Message(1, fake.ID(1), 1, pattern(1, limit)),
					fake.Message(2, fake.ID(2), 7, pattern(2, size)),
					fake.Message(3, fake.ID(3), 8, pattern(3, size)),
					fake.Frame(fake.FrameError, []byte("E_FIN_FAILED")),
					fake.Message(4, fake.ID(4), 1, pattern(4, limit)),
				))
				s.alive()
				s.wantUnread(1, 2, 7, size, limit)
				s.wantUnread(2, 3, 8, size, limit)
				all := s.sink.messages()
				for i, n := range map[int]uint64{0: 1, 3: 4} {
					if m := all[i]; m.Fault() != nil || !bytes.Equal(m.Body, pattern(n, limit)) {
						t.Errorf("message %d has the fault %v and %d bytes", i, m.Fault(), len(m.Body))
					}
				}
				if st := s.Stats(); st.Received != 4 || st.TooLarge != 2 || st.Bytes != 2*limit || st.InFlight != 4 {
					t.Errorf("stats are %+v", st)
				}
				s.Requeue(all[1], time.Second)
				s.GiveUp(all[2])
				s.Finish(all[0])
				s.wantSent(req(2, 1000) + ", " + fin(3) + ", " + fin(1))
				if st := s.Stats(); st.InFlight != 1 {
					t.Errorf("%d are in flight, want 1", st.InFlight)
				}
			})
		}
	}
}

// TestSkipInLayers is TestSkip over TLS and compression.
func TestSkipInLayers(t *testing.T) {
	for name, o := range layers(t) {
		bubbles(t, name, func(t *testing.T) {
			o.cfg.MaxMessageSize = 1000
			s := openStream(t, o)
			for n := range uint64(6) {
				s.p.Message(fake.ID(n), 1, pattern(n, 1000+int(n%2)*200_000))
			}
			s.alive()
			for i, m := range s.sink.messages() {
				if n := uint64(i); n%2 == 1 {
					s.wantUnread(i, n, 1, 201_000, 1000)
				} else if !bytes.Equal(m.Body, pattern(n, 1000)) {
					t.Errorf("message %d is not what was sent", i)
				}
			}
		})
	}
}

// TestSkipMemory: what is skipped costs no memory.
func TestSkipMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, part = 64 << 20, 1 << 20
		s := openStream(t, streamOptions{})
		s.p.Raw(fake.Message(0, fake.ID(1), 1, make([]byte, size))[:part])
		synctest.Wait()
		zeros := make([]byte, part)
		before := allocated()
		for range size/part - 1 {
			s.p.Raw(zeros)
			synctest.Wait()
		}
		if got := allocated() - before; got > 8<<20 { // the pipe's
			t.Errorf("%d bytes were allocated for a message of %d", got, size)
		}
		s.p.Raw(zeros[:wire.HeaderLen+wire.MessageHeaderLen])
		s.alive()
		s.wantUnread(0, 1, 1, size, 1<<20)
	})
}

// TestSkipTimes: a delivery counts from the first byte of its frame, and the frame must be complete
// within two heartbeat intervals.
func TestSkipTimes(t *testing.T) {
	frame := fake.Message(0, fake.ID(1), 1, make([]byte, 3<<20))
	bubbles(t, "in time", func(t *testing.T) {
		s := openStream(t, streamOptions{})
		time.Sleep(10 * time.Second)
		s.p.Raw(frame[:1])
		for i := range 3 {
			time.Sleep(15 * time.Second)
			s.p.Raw(frame[1+i<<20 : 1+(i+1)<<20])
		}
		s.p.Raw(frame[1+3<<20:])
		s.alive()
		s.wantUnread(0, 1, 1, 3<<20, 1<<20)
		if got := s.last().Received().Sub(s.start); got != 10*time.Second {
			t.Errorf("it was received at %v", got)
		}
	})
	bubbles(t, "too slow", func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.p.Raw(frame[:1<<20])
		for range 10 {
			time.Sleep(10 * time.Second)
			s.p.Raw(make([]byte, 1000))
		}
		wantIs(t, s.failed(conn.PhaseStream, 2*beat), conn.ErrSilent)
	})
}

// TestNotSkipped: what is no message ends the connection, as early as it can be known.
func TestNotSkipped(t *testing.T) {
	const ceiling = 256 << 20
	start := func(size int, id string) []byte {
		head := fake.Message(0, id, 1, nil)
		return append(frameSize(uint32(4+26+size)), head[4:]...)
	}
	for name, c := range map[string]struct {
		raw  []byte
		want func(error) bool
		end  bool // nsqd closes
	}{
		"above the ceiling":      {start(ceiling+1, fake.ID(1)), isErr[*wire.FrameSizeError], false},
		"size 7fffffff":          {start(0x7fffffff-30, fake.ID(1)), isErr[*wire.FrameSizeError], false},
		"negative size":          {frameSize(0xfffffff0), isErr[*wire.FrameSizeError], false},
		"no id":                  {start(ceiling, strings.Repeat("\n", 16)), isErr[*wire.IDError], false},
		"a large response":       {append(frameSize(2<<20), 0, 0, 0, 0), isErr[*wire.FrameSizeError], false},
		"end within the body":    {append(start(ceiling, fake.ID(1)), "x"...), isUnexpectedEOF, true},
		"end before the body":    {start(ceiling, fake.ID(1)), isUnexpectedEOF, true},
		"end within the header":  {start(ceiling, fake.ID(1))[:30], isUnexpectedEOF, true},
		"end after the type":     {start(ceiling, fake.ID(1))[:8], isUnexpectedEOF, true},
		"end before the type":    {start(ceiling, fake.ID(1))[:5], isUnexpectedEOF, true},
		"end of a small message": {start(500, fake.ID(1)), isUnexpectedEOF, true},
	} {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, streamOptions{})
			s.p.Raw(c.raw)
			if c.end {
				s.p.Close()
			}
			if err := s.failed(conn.PhaseStream, 0); !c.want(err) {
				t.Errorf("error is %v", err)
			}
			if n := len(s.sink.messages()); n != 0 {
				t.Errorf("%d messages were delivered", n)
			}
		})
	}
	bubbles(t, "on a connection that publishes", func(t *testing.T) {
		s := openStream(t, streamOptions{publish: true})
		s.p.Raw(start(2<<20, fake.ID(1)))
		if err := s.failed(conn.PhaseStream, 0); !isErr[*wire.FrameSizeError](err) {
			t.Errorf("error is %v", err)
		}
	})
	bubbles(t, "above the ceiling, but allowed", func(t *testing.T) {
		s := openStream(t, streamOptions{cfg: conn.Config{MaxMessageSize: 1 << 30}})
		s.p.Raw(start(ceiling+1, fake.ID(1)))
		s.p.Close()
		if err := s.failed(conn.PhaseStream, 0); !isUnexpectedEOF(err) {
			t.Errorf("error is %v", err)
		}
	})
}

func isUnexpectedEOF(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }

// TestSkipAtTheEnd: a message that was skipped after the half-close, or when the drain has begun,
// counts like any other.
func TestSkipAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStream(t, streamOptions{})
		s.StopDelivery()
		s.wantSent("CLS")
		s.p.Message(fake.ID(1), 1, make([]byte, 1<<20+1))
		s.p.Response("CLOSE_WAIT")
		synctest.Wait()
		s.wantUnread(0, 1, 1, 1<<20+1, 1<<20)
		s.Requeue(s.last(), 0)
		s.wantSent(req(1, 0))
		<-s.DeliveryStopped()
	})
}
