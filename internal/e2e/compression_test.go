package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/wire"
)

// merging delays the answer to IDENTIFY and sends it with the next bytes in one write. It works on
// one connection at a time and counts them in merged.
func merging(merged *int) testnsqd.Tap {
	var held []byte
	return func(d testnsqd.Direction, b []byte) []byte {
		if d == testnsqd.ToServer {
			return b
		}
		if len(b) > 9 && b[8] == '{' && int(binary.BigEndian.Uint32(b)) <= len(b)-4 {
			*merged++
			if int(binary.BigEndian.Uint32(b)) == len(b)-4 {
				held = bytes.Clone(b)
				return nil
			}
		}
		b = append(held, b...)
		held = nil
		return b
	}
}

// TestCoalescedOKC1: the compressed OK arrives in one segment with the answer to IDENTIFY. 500
// handshakes with the real nsqd succeed, with each compression, with and without TLS. Then messages
// flow.
func TestCoalescedOKC1(t *testing.T) {
	t.Parallel()
	const each = 125
	compressed := 0
	for _, tt := range transports(t) {
		if tt.conn.Compression == conn.NoCompression {
			continue
		}
		compressed++
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t, tt.nsqd...)
			p := testnsqd.StartProxy(t, s.Addr())
			merged := 0
			if tt.conn.TLS == nil { // with TLS, the client answers in between
				p.Tap(merging(&merged))
			}
			for i := range each {
				c, err := conn.Dial(t.Context(), p.Addr(), tt.conn, &conn.Subscription{Topic: topic, Channel: channel})
				if err != nil {
					t.Fatalf("handshake %d: %v", i, err)
				}
				c.Abort(nil)
				eventually(t, func() bool { return s.Clients() == 0 }, "nsqd to notice")
			}
			if tt.conn.TLS == nil && merged != each {
				t.Errorf("%d of %d were merged", merged, each)
			}
			publish(t, s, topic, numbered("m", 20)...)
			p.Tap(nil)
			collect(t, s, topic, channel, 20, nsqx.WithConn(tt.conn))
		})
	}
	if compressed*each != 500 {
		t.Errorf("%d handshakes, want 500", compressed*each)
	}
}

// TestCompressionAnswerC2: an nsqd that enables an unrequested compression, both at once, or none,
// is refused after its answer to IDENTIFY and receives nothing more. An nsqd without compression is
// accepted if compression is optional.
func TestCompressionAnswerC2(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg             conn.Config
		snappy, deflate bool
		want            error // if not nil
		works           bool
	}{
		"snappy, not asked for":  {snappy: true},
		"deflate, not asked for": {deflate: true},
		"both, not asked for":    {snappy: true, deflate: true},
		"deflate for snappy":     {cfg: conn.Config{Compression: conn.Snappy}, deflate: true},
		"snappy for deflate":     {cfg: conn.Config{Compression: conn.Deflate}, snappy: true},
		"both for snappy":        {cfg: conn.Config{Compression: conn.Snappy}, snappy: true, deflate: true},
		"both for deflate":       {cfg: conn.Config{Compression: conn.Deflate}, snappy: true, deflate: true},
		"none for snappy":        {cfg: conn.Config{Compression: conn.Snappy}, want: conn.ErrNoCompression},
		"none for deflate":       {cfg: conn.Config{Compression: conn.Deflate}, want: conn.ErrNoCompression},
		"both for snappy that is optional": {
			cfg: conn.Config{Compression: conn.Snappy, CompressionOptional: true}, snappy: true, deflate: true},
		"none for snappy that is optional":  {cfg: conn.Config{Compression: conn.Snappy, CompressionOptional: true}, works: true},
		"none for deflate that is optional": {cfg: conn.Config{Compression: conn.Deflate, CompressionOptional: true}, works: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			after := make(chan string, 100) // commands after IDENTIFY
			addr := fake.Listen(t, func(p *fake.Peer) {
				p.Identify(map[string]any{"snappy": tt.snappy, "deflate": tt.deflate})
				if tt.works {
					p.Expect("SUB")
					p.Response("OK")
					p.Message(fake.ID(1), 1, []byte("m"))
				}
				for {
					cmd, err := p.Next()
					if err != nil {
						return
					}
					after <- cmd.String()
				}
			})
			w := new(watch)
			c := newConsumer(t, handles(newLedger()), nsqx.WithNSQD(addr), nsqx.WithConn(tt.cfg), nsqx.WithHooks(w.hooks()))
			r := start(t, c)
			if tt.works {
				for receive(t, after, "FIN") != "FIN "+fake.ID(1) {
				}
				_ = r.stop() // the peer does not answer CLS
				return
			}
			eventually(t, func() bool { return len(w.events(&w.dialErrors)) > 0 }, "a handshake that fails")
			r.mustStop()
			err := w.events(&w.dialErrors)[0].Err
			if e, ok := errors.AsType[*conn.Error](err); !ok || e.Phase != conn.PhaseIdentify || !e.Permanent() {
				t.Errorf("dial error %v", err)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("dial error %v, want %v", err, tt.want)
			}
			if len(after) > 0 {
				t.Errorf("after IDENTIFY came %s", <-after)
			}
		})
	}
}

// compressions are snappy and deflate, with the means to fake them.
var compressions = map[conn.Compression]struct {
	upgrade func(*fake.Peer)
	nothing []byte // decodes to nothing
}{
	conn.Snappy:  {(*fake.Peer).UpgradeSnappy, []byte{0x80, 1, 0, 0, 0}},
	conn.Deflate: {(*fake.Peer).UpgradeDeflate, []byte{0, 0, 0, 0xff, 0xff}},
}

// TestBombC3: a frame of 64 MiB that compresses well is refused when its size is known, and a message
// when its header is, if that has no id. Not parallel: it measures memory.
func TestBombC3(t *testing.T) {
	for c, how := range compressions {
		for kind, size := range map[string]int{"message": 64 << 20, "response": 64 << 20, "message of twice the limit": 2 << 20} {
			t.Run(fmt.Sprint(c, " ", kind), func(t *testing.T) {
				frame := binary.BigEndian.AppendUint32(nil, uint32(size-4))
				frame = append(frame, 0, 0, 0, 0)
				if kind != "response" {
					frame[7] = 2
				}
				frame = append(frame, make([]byte, size-len(frame))...)
				addr := fake.Listen(t, func(p *fake.Peer) {
					if p.N > 1 {
						return
					}
					p.Identify(map[string]any{"snappy": c == conn.Snappy, "deflate": c == conn.Deflate})
					how.upgrade(p)
					p.Expect("SUB")
					p.Response("OK")
					p.Raw(frame)
					p.HalfClosed()
				})
				w := new(watch)
				consumer := newConsumer(t, handles(newLedger()), nsqx.WithNSQD(addr), nsqx.WithConn(conn.Config{Compression: c}), nsqx.WithHooks(w.hooks()))
				runtime.GC()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				r := start(t, consumer)
				eventually(t, func() bool { return len(w.events(&w.disconnects)) > 0 }, "the end of the connection")
				runtime.ReadMemStats(&after)
				_ = r.stop()
				err := w.events(&w.disconnects)[0].Err
				e, ok := errors.AsType[*wire.FrameSizeError](err)
				if refused := ok && int(e.Size) == size-4; refused != (kind == "response") || !refused && !isA[*wire.IDError](err) {
					t.Errorf("the connection has ended with %v", err)
				}
				// Most of this is for the peer's compressors and the consumer's reader.
				if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
					t.Errorf("%d bytes were allocated for a frame of %d", n, size)
				}
			})
		}
	}
}

// TestNothingC4: endless compressed bytes that decode to nothing keep no connection alive. One
// deadline ends the handshake, two heartbeats end a connection.
func TestNothingC4(t *testing.T) {
	t.Parallel()
	for c, how := range compressions {
		flood := func(p *fake.Peer) {
			block := bytes.Repeat(how.nothing, 200)
			for {
				if _, err := p.Conn.Write(block); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond) // leaves some CPU for others
			}
		}
		identity := map[string]any{"snappy": c == conn.Snappy, "deflate": c == conn.Deflate}
		t.Run(fmt.Sprint(c, " in the handshake"), func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				addr := fake.Listen(t, func(p *fake.Peer) {
					p.Identify(identity)
					if c == conn.Snappy {
						_, _ = p.Conn.Write([]byte("\xff\x06\x00\x00sNaPpY"))
					}
					flood(p)
				})
				cfg := conn.Config{Compression: c, HandshakeTimeout: 500 * time.Millisecond}
				began := time.Now()
				_, err := conn.Dial(context.Background(), addr, cfg, &conn.Subscription{Topic: topic, Channel: channel})
				if took := time.Since(began); took < cfg.HandshakeTimeout || took > cfg.HandshakeTimeout+slack {
					t.Errorf("the handshake took %v", took)
				}
				if e, ok := errors.AsType[*conn.Error](err); !ok || e.Phase != conn.PhaseCompression || e.Permanent() {
					t.Errorf("error is %v", err)
				}
			})
		})
		t.Run(fmt.Sprint(c, " after it"), func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				addr := fake.Listen(t, func(p *fake.Peer) {
					p.Identify(identity)
					how.upgrade(p)
					p.Expect("SUB")
					p.Response("OK")
					flood(p)
				})
				w := new(watch)
				cfg := quick
				cfg.Compression = c
				consumer := newConsumer(t, handles(newLedger()), nsqx.WithNSQD(addr), nsqx.WithConn(cfg), nsqx.WithHooks(w.hooks()))
				r := start(t, consumer)
				w.connected(t, 1)
				since := w.events(&w.connects)[0].Time
				if ev := w.lostSoon(t, since); !errors.Is(ev.Err, conn.ErrSilent) {
					t.Errorf("the connection has ended with %v", ev.Err)
				}
				_ = r.stop()
			})
		})
	}
}
