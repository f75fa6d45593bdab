package conn_test

import (
	"bytes"
	"compress/flate"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/snappy"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/wire"
)

// Tests of compress.go and transport.go.

// corked merges writes until its peer is read from, so that an answer and the OK of an upgrade
// arrive in one segment.
type corked struct {
	net.Conn
	held []byte
}

func (c *corked) Write(b []byte) (int, error) {
	c.held = append(c.held, b...)
	return len(b), nil
}

func (c *corked) Read(b []byte) (int, error) {
	if len(c.held) > 0 {
		if _, err := c.Conn.Write(c.held); err != nil {
			return 0, err
		}
		c.held = nil
	}
	return c.Conn.Read(b)
}

// sliced writes one byte at a time.
type sliced struct{ net.Conn }

func (c sliced) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := c.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// TestUpgrades checks every layer, with the server's bytes segmented in several ways, and transfers
// data in both directions until the half-close.
func TestUpgrades(t *testing.T) {
	a := newAuthority(t)
	server := a.server()
	segments := map[string]func(net.Conn) net.Conn{
		"as written": func(nc net.Conn) net.Conn { return nc },
		"merged":     func(nc net.Conn) net.Conn { return &corked{Conn: nc} },
		"1 byte":     func(nc net.Conn) net.Conn { return sliced{nc} },
	}
	body := bytes.Repeat([]byte("body of a message "), 2000)
	for _, secure := range []bool{false, true} {
		for _, c := range []conn.Compression{conn.NoCompression, conn.Snappy, conn.Deflate} {
			for _, sub := range []*conn.Subscription{nil, orders} {
				for cut, segment := range segments {
					bubbles(t, fmt.Sprintf("tls %v, %v, subscribed %v, %s", secure, c, sub != nil, cut), func(t *testing.T) {
						cfg := conn.Config{Compression: c}
						if secure {
							cfg.TLS = a.client()
						}
						done := make(chan struct{})
						hs, err := shake(t, t.Context(), cfg, sub, func(p *fake.Peer) {
							defer close(done)
							p = fake.NewPeer(t, segment(p.Conn))
							p.Identify(map[string]any{"tls_v1": secure, "snappy": c == conn.Snappy, "deflate": c == conn.Deflate})
							upgrade(t, p, secure, server, c)
							if sub != nil {
								p.Expect("SUB")
								p.Response("OK")
							}
							p.MessageAt(1, fake.ID(1), 1, body)
							if got := p.Expect("PUB").Body; !bytes.Equal(got, body) {
								t.Errorf("PUB of %d bytes, want %d", len(got), len(body))
							}
							if !p.HalfClosed() {
								t.Error("not half-closed")
							}
						})
						if err != nil {
							t.Fatal(err)
						}
						if hs.Resp.TLS != secure || hs.Resp.Snappy != (c == conn.Snappy) || hs.Resp.Deflate != (c == conn.Deflate) {
							t.Errorf("answer is %+v", hs.Resp)
						}
						if _, ok := hs.Conn.(*tls.Conn); ok != secure {
							t.Errorf("connection is %T", hs.Conn)
						}
						want := fake.Message(1, fake.ID(1), 1, body)
						var wg sync.WaitGroup
						defer wg.Wait()
						wg.Go(func() {
							_, _ = hs.W.Write(wire.AppendPUB(nil, "orders", body))
							if err := hs.CloseWrite(); err != nil {
								t.Error(err)
							}
						})
						got, err := io.ReadAll(hs.R)
						if !bytes.Equal(got, want) {
							t.Errorf("read %d bytes, want %d", len(got), len(want))
						}
						if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
							t.Error(err)
						}
						<-done
					})
				}
			}
		}
	}
}

func upgrade(t *testing.T, p *fake.Peer, secure bool, server *tls.Config, c conn.Compression) {
	if secure {
		if err := p.UpgradeTLS(server); err != nil {
			t.Error(err)
		}
	}
	switch c {
	case conn.Snappy:
		p.UpgradeSnappy()
	case conn.Deflate:
		p.UpgradeDeflate()
	}
}

// writes counts writes.
type writes struct {
	net.Conn
	n int
}

func (w *writes) Write(b []byte) (int, error) {
	w.n++
	return w.Conn.Write(b)
}

func (w *writes) CloseWrite() error { return w.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// TestOneWrite checks that one Write of the transport is one Write of the connection, which the
// peer can decode.
func TestOneWrite(t *testing.T) {
	a := newAuthority(t)
	server := a.server()
	commands := bytes.Repeat([]byte("FIN 0123456789abcdef\n"), 500)
	for _, secure := range []bool{false, true} {
		for _, c := range []conn.Compression{conn.NoCompression, conn.Snappy, conn.Deflate} {
			for _, sub := range []*conn.Subscription{nil, orders} {
				bubbles(t, fmt.Sprintf("tls %v, %v, subscribed %v", secure, c, sub != nil), func(t *testing.T) {
					cfg := conn.Config{Compression: c}
					if secure {
						cfg.TLS = a.client()
					}
					decoded := make(chan struct{})
					n := fake.NewNetwork(t, func(p *fake.Peer) {
						p.Identify(map[string]any{"tls_v1": secure, "snappy": c == conn.Snappy, "deflate": c == conn.Deflate})
						upgrade(t, p, secure, server, c)
						if sub != nil {
							p.Expect("SUB")
							p.Response("OK")
						}
						for range 2 {
							for range 500 {
								p.Expect("FIN")
							}
							decoded <- struct{}{}
						}
						p.HalfClosed()
					})
					nc, err := n.DialContext(t.Context(), "", "")
					if err != nil {
						t.Fatal(err)
					}
					counter := &writes{Conn: nc}
					cfg.DialContext = dialling(counter)
					hs, err := conn.Handshake(t.Context(), address, cfg, sub)
					if err != nil {
						t.Fatal(err)
					}
					for range 2 {
						before := counter.n
						if n, err := hs.W.Write(commands); n != len(commands) || err != nil {
							t.Errorf("wrote %d, %v", n, err)
						}
						if counter.n != before+1 {
							t.Errorf("%d writes", counter.n-before)
						}
						<-decoded
					}
					_ = nc.Close()
				})
			}
		}
	}
}

// TestCompressedGarbage (M27 to M29) checks garbage in place of the compressed OK or behind it
// (M30). The error is permanent for the reader (M31).
func TestCompressedGarbage(t *testing.T) {
	ok := fake.Frame(0, []byte("OK"))
	id := "\xff\x06\x00\x00sNaPpY"
	deflated := func(b []byte) string {
		var buf bytes.Buffer
		w, _ := flate.NewWriter(&buf, 6)
		_, _ = w.Write(b)
		_ = w.Flush()
		return buf.String()
	}
	snapped := func(b []byte) string {
		var buf bytes.Buffer
		w := snappy.NewBufferedWriter(&buf)
		_, _ = w.Write(b)
		_ = w.Close() // writes nothing more
		return buf.String()
	}
	badCRC := []byte(snapped(ok))
	badCRC[len(id)+4]++
	huge := append([]byte{0, 3, 0, 0, 1, 2, 3, 4}, snappy.Encode(nil, make([]byte, 65537))...) // a chunk that decodes to more than 64 KiB
	huge[1], huge[2] = byte(len(huge)-4), byte((len(huge)-4)>>8)
	tests := []struct {
		name  string
		c     conn.Compression
		bytes string
		works bool // the garbage comes after the OK
	}{
		{"M27: text", conn.Snappy, "garbage", false},
		{"M27: text", conn.Deflate, "garbage", false},
		{"M27: plain OK", conn.Snappy, string(ok), false},
		{"M27: plain OK", conn.Deflate, string(ok), false},
		{"M28: other stream id", conn.Snappy, "\xff\x06\x00\x00sNaPpX", false},
		{"M28: short stream id", conn.Snappy, "\xff\x05\x00\x00sNaPp", false},
		{"M28: no stream id", conn.Snappy, snapped(ok)[len(id):], false},
		{"M28: bad CRC", conn.Snappy, string(badCRC), false},
		{"M28: chunk above 64 KiB", conn.Snappy, id + string(huge), false},
		{"M28: raw chunk above 64 KiB", conn.Snappy, id + "\x01\x05\x00\x01" + strings.Repeat("x", 65541), false},
		{"M28: compressed chunk of 16 MiB", conn.Snappy, id + "\x00\xff\xff\xff", false},
		{"M28: unskippable chunk", conn.Snappy, id + "\x02\x01\x00\x00x", false},
		{"cut", conn.Snappy, snapped(ok)[:len(id)+6], false},
		{"M29: invalid block", conn.Deflate, "\xff\xff\xff\xff", false},
		{"M29: final block", conn.Deflate, "\x01\x00\x00\xff\xff" + deflated(ok), false},
		{"cut", conn.Deflate, deflated(ok)[:5], false},
		{"after OK", conn.Snappy, snapped(ok) + "\x02\x01\x00\x00x", true},
		{"after OK", conn.Deflate, deflated(ok) + "\xff\xff\xff\xff", true},
		{"M30: frame after OK in the same block", conn.Snappy, snapped(append(ok, "\x00\x00\x00\x06\x00\x00\x00\x00OK"...)) + "\x7f\x00\x00\x00", true},
	}
	for _, tt := range tests {
		bubbles(t, fmt.Sprint(tt.c, " ", tt.name), func(t *testing.T) {
			hs, err := shake(t, t.Context(), conn.Config{Compression: tt.c}, nil, func(p *fake.Peer) {
				p.Identify(map[string]any{"snappy": tt.c == conn.Snappy, "deflate": tt.c == conn.Deflate})
				p.Raw([]byte(tt.bytes))
			})
			if !tt.works {
				wantError(t, err, conn.PhaseCompression, false)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(tt.name, "frame") {
				if _, err := io.ReadFull(hs.R, make([]byte, len(ok))); err != nil {
					t.Errorf("the frame before the garbage: %v", err)
				}
			}
			_, err = hs.R.Read(make([]byte, 1))
			if err == nil || err == io.EOF {
				t.Errorf("garbage was read as %v", err)
			}
			if _, again := hs.R.Read(make([]byte, 1)); again != err {
				t.Errorf("after %v comes %v", err, again)
			}
		})
	}
}

// TestBomb checks that a highly compressed frame of 64 MiB is refused before it is decompressed.
// Its first 4 MiB suffice.
func TestBomb(t *testing.T) {
	frame := append([]byte{4, 0, 0, 4, 0, 0, 0, 0}, make([]byte, 4<<20)...)
	bombs := map[conn.Compression][]byte{}
	var buf bytes.Buffer
	f, _ := flate.NewWriter(&buf, 6)
	_, _ = f.Write(frame)
	_ = f.Close()
	bombs[conn.Deflate] = bytes.Clone(buf.Bytes())
	buf.Reset()
	s := snappy.NewBufferedWriter(&buf)
	_, _ = s.Write(frame)
	_ = s.Close()
	bombs[conn.Snappy] = buf.Bytes()
	for c, bomb := range bombs {
		bubbles(t, c.String(), func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := shake(t, t.Context(), conn.Config{Compression: c}, orders, func(p *fake.Peer) {
				p.Identify(map[string]any{"snappy": c == conn.Snappy, "deflate": c == conn.Deflate})
				p.Raw(bomb)
			})
			runtime.ReadMemStats(&after)
			if size, ok := errors.AsType[*wire.FrameSizeError](wantError(t, err, conn.PhaseCompression, false)); !ok || size.Size != 64<<20+4 {
				t.Errorf("error is %v", err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("%d bytes allocated", n)
			}
		})
	}
}
