package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestSlowLinkF11: each byte is delayed and arrives alone.
func TestSlowLinkF11(t *testing.T) {
	t.Parallel()
	const n = 20
	for _, tt := range transports(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				s := testnsqd.Start(t, tt.nsqd...)
				p := testnsqd.StartProxy(t, s.Addr())
				for _, d := range []testnsqd.Direction{testnsqd.ToServer, testnsqd.ToClient} {
					p.Slice(d, 1)
					p.Delay(d, 50*time.Millisecond)
				}
				book := newLedger()
				c := newConsumer(t, handles(book), nsqx.WithNSQD(p.Addr()), nsqx.WithConn(tt.conn))
				bodies := numbered("m", n)
				publish(t, s, topic, bodies...)
				r := start(t, c)
				finished(t, s, c, n)
				r.mustStop()
				book.complete(t, bodies)
				if st := s.Channel(topic, channel); book.extra() > 0 || st.TimedOut+st.Requeued > 0 || p.Accepted() != 1 {
					t.Errorf("%d extra deliveries, %d dials, nsqd says %+v", book.extra(), p.Accepted(), st)
				}
			})
		})
	}
}

// measured returns the number of bytes nsqd sends until a consumer has its first message.
func measured(t *testing.T, s *testnsqd.Server, topic string, opts ...nsqx.ConsumerOption) (n int) {
	p := testnsqd.StartProxy(t, s.Addr())
	var sent atomic.Int64
	p.Tap(func(d testnsqd.Direction, b []byte) []byte {
		if d == testnsqd.ToClient {
			sent.Add(int64(len(b)))
		}
		return b
	})
	got := make(chan int64, 1)
	c := newConsumerOf(t, topic, channel, func(context.Context, string) error { got <- sent.Load(); return nil },
		append(opts, nsqx.WithNSQD(p.Addr()))...)
	publish(t, s, topic, []byte(whole))
	r := start(t, c)
	n = int(receive(t, got, "a message"))
	r.mustStop()
	return n
}

const whole = "whole message"

// TestCutWithinFrameF12: the connection is cut at each byte of a message frame, and at a few before
// and after it. No handler gets a partial message. The next connection delivers the whole one.
func TestCutWithinFrameF12(t *testing.T) {
	t.Parallel()
	const frame = 4 + 4 + 8 + 2 + 16 + len(whole)
	s := testnsqd.Start(t, messageTimeout(300*time.Millisecond))
	total := measured(t, s, "measure")
	for k := -2; k <= frame+8; k += 3 {
		t.Run(fmt.Sprintf("byte %d", k), func(t *testing.T) {
			t.Parallel()
			var cutEach sync.WaitGroup
			for at := k; at < k+3; at++ {
				cutEach.Go(func() { cutWithinFrame(t, s, at, total-frame+at) })
			}
			cutEach.Wait()
		})
	}
}

func cutWithinFrame(t *testing.T, s *testnsqd.Server, k, limit int) {
	topic := fmt.Sprintf("cut.%d", 100+k)
	p := testnsqd.StartProxy(t, s.Addr())
	p.CutAfter(testnsqd.ToClient, limit)
	book, w := newLedger(), new(watch)
	c := newConsumerOf(t, topic, channel, func(ctx context.Context, body string) error {
		if body != whole {
			t.Errorf("cut at byte %d: message %q", k, body)
		}
		return handles(book)(ctx, body)
	}, nsqx.WithNSQD(p.Addr()), nsqx.WithHooks(w.hooks()))
	s.EnsureChannel(topic, channel)
	s.Publish(topic, []byte(whole))
	r := start(t, c)
	deadline := time.Now().Add(waitTimeout)
	for p.Accepted() < 2 && c.Stats().Finished == 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	p.CutAfter(testnsqd.ToClient, -1)
	for (s.Channel(topic, channel).Unfinished() > 0 || book.handled() == 0) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	r.mustStop()
	if st := s.Channel(topic, channel); st.Unfinished() > 0 || book.handled() != 1 {
		t.Errorf("cut at byte %d: nsqd says %+v", k, st)
	}
}

// TestSwallowedFINF13: the FIN is written, and nsqd never receives it. The message is delivered
// once more.
func TestSwallowedFINF13(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t, messageTimeout(500*time.Millisecond))
		p := testnsqd.StartProxy(t, s.Addr())
		var swallowed atomic.Bool
		p.Tap(func(d testnsqd.Direction, b []byte) []byte {
			if d == testnsqd.ToServer && bytes.Contains(b, []byte("FIN ")) && swallowed.CompareAndSwap(false, true) {
				p.Cut()
				return nil
			}
			return b
		})
		book, w := newLedger(), new(watch)
		c := newConsumer(t, handles(book), nsqx.WithNSQD(p.Addr()), nsqx.WithHooks(w.hooks()))
		publish(t, s, topic, []byte("m"))
		r := start(t, c)
		finished(t, s, c, 1)
		eventually(t, func() bool {
			// nsqd counts a message nowhere while it moves it.
			return len(book.of("m")) == 2 && s.Channel(topic, channel).TimedOut >= 1 && s.Channel(topic, channel).Unfinished() == 0
		}, "the FIN of the second delivery")
		r.mustStop()
		if d := book.of("m"); len(d) != 2 || d[1].attempts != 2 || len(w.events(&w.refused)) > 0 {
			t.Errorf("deliveries %+v, refused %v", d, w.events(&w.refused))
		}
	})
}

// sizeOfHandshake returns the number of bytes of a handshake in one direction, give or take the
// length of a signature.
func sizeOfHandshake(t testing.TB, addr string, cfg conn.Config, d testnsqd.Direction) int {
	p := testnsqd.StartProxy(t, addr)
	var passed atomic.Int64
	p.Tap(func(at testnsqd.Direction, b []byte) []byte {
		if at == d {
			passed.Add(int64(len(b)))
		}
		return b
	})
	c, err := conn.Dial(context.Background(), p.Addr(), cfg, &conn.Subscription{Topic: topic, Channel: channel})
	if err != nil {
		t.Fatal(err)
	}
	c.Abort(nil)
	return int(passed.Load())
}

// TestCutWithinHandshakeT5: like F12 for the handshake. The connection is cut after any number of
// bytes, in either direction. The handshake fails with an error that is not permanent.
func TestCutWithinHandshakeT5(t *testing.T) {
	t.Parallel()
	for _, tt := range transports(t)[:7] { // AUTH leaves connections behind in nsqd
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t, tt.nsqd...)
			sub := &conn.Subscription{Topic: topic, Channel: channel}
			for _, d := range []testnsqd.Direction{testnsqd.ToServer, testnsqd.ToClient} {
				p := testnsqd.StartProxy(t, s.Addr())
				total := sizeOfHandshake(t, s.Addr(), tt.conn, d)
				needless := 8 // last bytes that may be missing: signatures differ in length
				switch {
				case tt.conn.Compression != conn.Deflate:
				case tt.conn.TLS == nil: // nsqd flushes more often than necessary
					needless += 16
				default: // TLS records
					needless += 160
				}
				for k, step := 0, total/40; k < total-needless; k += step {
					if total-k < 240 { // the answers to IDENTIFY and SUB, compressed or not
						step = 5
					}
					p.CutAfter(d, k)
					c, err := conn.Dial(context.Background(), p.Addr(), tt.conn, sub)
					if err == nil {
						c.Abort(nil)
						t.Errorf("cut %s after %d bytes of %d: the handshake has succeeded", d, k, total)
						continue
					}
					if e, ok := errors.AsType[*conn.Error](err); !ok || e.Permanent() || e.Addr != p.Addr() {
						t.Errorf("cut %s after %d bytes: %v", d, k, err)
					}
				}
			}
		})
	}
}

// TestCutHandshakeHealsT5: a consumer connects once its handshakes are no longer cut.
func TestCutHandshakeHealsT5(t *testing.T) {
	t.Parallel()
	ca := testnsqd.NewAuthority(t)
	cfg := conn.Config{TLS: ca.ClientConfig(), Compression: conn.Snappy}
	for name, tt := range map[string]struct {
		after func(total int) int // bytes of the handshake
		phase conn.Phase
	}{
		"in IDENTIFY":          {func(int) int { return 100 }, conn.PhaseIdentify},
		"in TLS":               {func(int) int { return 600 }, conn.PhaseTLS},
		"in the compressed OK": {func(total int) int { return total - 100 }, conn.PhaseCompression}, // the OK to SUB has 62 bytes
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t, ca.RequireTLS)
			p := testnsqd.StartProxy(t, s.Addr())
			p.CutAfter(testnsqd.ToClient, tt.after(sizeOfHandshake(t, s.Addr(), cfg, testnsqd.ToClient)))
			book, w := newLedger(), new(watch)
			c := newConsumer(t, handles(book), nsqx.WithNSQD(p.Addr()), nsqx.WithHooks(w.hooks()), nsqx.WithConn(cfg))
			publish(t, s, topic, []byte("m"))
			r := start(t, c)
			eventually(t, func() bool { return len(w.events(&w.dialErrors)) >= 2 }, "handshakes that fail")
			p.CutAfter(testnsqd.ToClient, -1)
			finished(t, s, c, 1)
			r.mustStop()
			w.checkDials(t)
			for _, ev := range w.events(&w.dialErrors)[:2] {
				if e, ok := errors.AsType[*conn.Error](ev.Err); !ok || e.Phase != tt.phase || e.Permanent() {
					t.Errorf("dial error %v, want one of phase %s", ev.Err, tt.phase)
				}
			}
		})
	}
}

// TestSlowTLST4: the TLS handshake is answered never, or byte by byte. One deadline ends the whole
// handshake.
func TestSlowTLST4(t *testing.T) {
	t.Parallel()
	ca := testnsqd.NewAuthority(t)
	cfg := conn.Config{TLS: ca.ClientConfig(), HandshakeTimeout: 600 * time.Millisecond}
	t.Run("never answered", func(t *testing.T) {
		t.Parallel()
		steady(t, func(t testing.TB) {
			s := testnsqd.Start(t, ca.RequireTLS)
			p := testnsqd.StartProxy(t, s.Addr())
			p.Tap(func(d testnsqd.Direction, b []byte) []byte {
				if d == testnsqd.ToServer && b[0] == 0x16 { // a TLS handshake record
					p.Freeze(testnsqd.ToClient)
				}
				return b
			})
			slowHandshake(t, p.Addr(), cfg)
		})
	})
	t.Run("dripped", func(t *testing.T) {
		t.Parallel()
		slowHandshake(t, fake.Listen(t, func(p *fake.Peer) {
			p.Identify(map[string]any{"tls_v1": true})
			p.Raw([]byte("\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")) // start of a long handshake message
			for p.WriteErr() == nil {
				p.Raw([]byte{3})
				time.Sleep(cfg.HandshakeTimeout / 4)
			}
		}), cfg)
	})
}

func slowHandshake(t testing.TB, addr string, cfg conn.Config) {
	t.Helper()
	began := time.Now()
	_, err := conn.Dial(context.Background(), addr, cfg, &conn.Subscription{Topic: topic, Channel: channel})
	e, ok := errors.AsType[*conn.Error](err)
	if took := time.Since(began); took < cfg.HandshakeTimeout || took > cfg.HandshakeTimeout+slack {
		t.Errorf("the handshake took %v: %v", took, err)
	}
	if !ok || e.Phase != conn.PhaseTLS || e.Permanent() {
		t.Errorf("error is %v", err)
	}
}
