package conn_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/wire"
)

// Tests of read.go over TLS and compression.

// cutConn passes left bytes of what is written, and then closes.
type cutConn struct {
	net.Conn
	armed bool
	left  int
}

func (c *cutConn) Write(p []byte) (int, error) {
	if !c.armed {
		return c.Conn.Write(p)
	}
	k := min(len(p), c.left)
	c.left -= k
	n, err := c.Conn.Write(p[:k])
	if err == nil && k < len(p) {
		err = io.ErrShortWrite
		_ = c.Conn.Close()
	}
	return n, err
}

// TestCut cuts the connection at each byte, below TLS and compression. Only complete messages are
// delivered, and the end is never graceful.
func TestCut(t *testing.T) {
	for name, o := range layers(t) {
		t.Run(name, func(t *testing.T) {
			for k, step := 0, 1; ; k += step {
				if o.cfg.TLS != nil {
					step = 11 // each takes a handshake
				}
				whole := false
				bubbles(t, fmt.Sprint("after byte ", k), func(t *testing.T) {
					whole = cut(t, o, k)
				})
				if whole {
					return
				}
			}
		})
	}
}

// cut sends three messages of which k bytes arrive, and reports whether all arrived.
func cut(t *testing.T, o streamOptions, k int) (whole bool) {
	var below *cutConn
	o.server = func(nc net.Conn) net.Conn {
		below = &cutConn{Conn: nc, left: k}
		return below
	}
	s := openStream(t, o)
	below.armed = true
	for n := range uint64(3) {
		s.p.Message(fake.ID(n), 1, pattern(n, 40))
	}
	whole = s.p.WriteErr() == nil
	s.p.Close()
	failure := s.failed(conn.PhaseStream, 0)
	// Half a snappy chunk may be corrupt input for its reader.
	if !errors.Is(failure, io.EOF) && !errors.Is(failure, io.ErrUnexpectedEOF) && !errors.Is(failure, s2.ErrCorrupt) {
		t.Errorf("Serve returned %v", failure)
	}
	all := s.sink.messages()
	for i, m := range all {
		if m.ID.String() != fake.ID(uint64(i)) || !bytes.Equal(m.Body, pattern(uint64(i), 40)) {
			t.Errorf("message %d is not what was sent", i)
		}
	}
	if len(all) > 3 || whole && len(all) != 3 {
		t.Errorf("%d messages were delivered", len(all))
	}
	return whole
}

// TestCutAfterHalfClose checks that an end after a half-close confirms it over every layer, even
// within a frame.
func TestCutAfterHalfClose(t *testing.T) {
	for name, o := range layers(t) {
		for _, partial := range []int{0, 3, 20} {
			bubbles(t, fmt.Sprint(name, ", ", partial, " bytes"), func(t *testing.T) {
				s := openStream(t, o)
				s.Finish(s.message(1))
				s.CloseWrite()
				if !s.p.HalfClosed() || s.p.Log[len(s.p.Log)-1].String() != fin(1) {
					t.Errorf("nsqd read %v", s.p.Log)
				}
				s.p.Raw(fake.Message(0, fake.ID(2), 1, nil)[:partial])
				s.p.Close()
				if err := s.wait(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestGarbageInABlock (M30) checks that frames before garbage are delivered, even if they arrive in
// one block or record.
func TestGarbageInABlock(t *testing.T) {
	for name, o := range layers(t) {
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, o)
			good := append(fake.Message(0, fake.ID(1), 1, pattern(1, 500)), fake.Message(0, fake.ID(2), 1, nil)...)
			s.p.Raw(append(good, "garbage"...))
			if failure := s.failed(conn.PhaseStream, 0); !isErr[*wire.FrameSizeError](failure) {
				t.Errorf("Serve returned %v", failure)
			}
			if all := s.sink.messages(); len(all) != 2 || !bytes.Equal(all[0].Body, pattern(1, 500)) {
				t.Errorf("%d messages were delivered", len(all))
			}
		})
	}
}

// TestGarbageBelowCompression (M27) checks that bytes that cannot be decompressed or decrypted end
// the connection, and that earlier messages are delivered.
func TestGarbageBelowCompression(t *testing.T) {
	for name, o := range layers(t) {
		if name == conn.NoCompression.String() {
			continue // see TestMalformed
		}
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, o)
			s.p.Message(fake.ID(1), 1, pattern(1, 500))
			if _, err := s.p.Conn.Write(bytes.Repeat([]byte{0x17, 0xff}, 100)); err != nil {
				t.Fatal(err)
			}
			if failure := s.failed(conn.PhaseStream, 0); errors.Is(failure, io.EOF) || errors.Is(failure, io.ErrUnexpectedEOF) {
				t.Errorf("Serve returned %v", failure)
			}
			if len(s.sink.messages()) != 1 {
				t.Errorf("%d messages were delivered", len(s.sink.messages()))
			}
		})
	}
}

// TestEmptyBlocks (M29) checks that compressed bytes that decode to nothing do not extend the
// deadline, and that the read is not retried (M31).
func TestEmptyBlocks(t *testing.T) {
	nothing := map[conn.Compression][]byte{
		conn.Snappy:  {0x80, 1, 0, 0, 0}, // a skippable chunk
		conn.Deflate: {0, 0, 0, 0xff, 0xff},
	}
	for name, o := range layers(t) {
		block := nothing[o.cfg.Compression]
		if block == nil || o.cfg.TLS != nil {
			continue
		}
		bubbles(t, name, func(t *testing.T) {
			s := openStream(t, o)
			for range 100 {
				time.Sleep(time.Second)
				if _, err := s.p.Conn.Write(bytes.Repeat(block, 1000)); err != nil {
					break
				}
			}
			wantIs(t, s.failed(conn.PhaseStream, 2*beat), conn.ErrSilent)
		})
	}
}
