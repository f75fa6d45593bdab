package conn_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
)

// Tests of handshake.go.

func TestSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs, err := shake(t, t.Context(), conn.Config{}, orders, func(p *fake.Peer) {
			time.Sleep(10 * time.Millisecond)
			p.Identify(map[string]any{"max_rdy_count": 10})
			if cmd := p.Expect("SUB"); cmd.String() != "SUB orders billing" {
				t.Errorf("sent %q", cmd)
			}
			time.Sleep(3 * time.Millisecond)
			p.Response("OK")
			p.Message(fake.ID(1), 1, []byte("hello"))
			if cmd := p.Expect("RDY"); len(p.Log) != 3 {
				t.Errorf("sent %v, then %v: no NOP was due", p.Log, cmd)
			}
			if !p.HalfClosed() {
				t.Error("not half-closed")
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if hs.R != hs.Conn || hs.W != hs.Conn {
			t.Error("a plain connection has a layer over it")
		}
		if hs.RTT != 3*time.Millisecond || hs.Resp.MaxRdyCount != 10 || hs.Resp.Version != "1.3.0" {
			t.Errorf("rtt %v, answer %+v", hs.RTT, hs.Resp)
		}
		// The handshake's deadline must not affect the stream.
		time.Sleep(time.Hour)
		want := fake.Message(time.Now().Add(-time.Hour).UnixNano(), fake.ID(1), 1, []byte("hello"))
		got := make([]byte, len(want))
		if _, err := io.ReadFull(hs.R, got); err != nil || string(got) != string(want) {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
		if _, err := hs.W.Write([]byte("RDY 1\n")); err != nil {
			t.Error(err)
		}
		if err := hs.CloseWrite(); err != nil {
			t.Error(err)
		}
		if n, err := hs.R.Read(got); n != 0 || err != io.EOF {
			t.Errorf("read %d bytes, %v; want EOF", n, err)
		}
	})
}

// TestHeartbeats (M16) sends heartbeats before each answer. None may pass for the answer, and one
// NOP at the end answers all.
func TestHeartbeats(t *testing.T) {
	a := newAuthority(t)
	server := a.server()
	synctest.Test(t, func(t *testing.T) {
		cfg := conn.Config{TLS: a.client(), Compression: conn.Snappy, AuthSecret: secret("sesame")}
		_, err := shake(t, t.Context(), cfg, orders, func(p *fake.Peer) {
			p.Magic()
			p.Expect("IDENTIFY")
			p.Heartbeat()
			p.Response(`{"tls_v1":true,"snappy":true,"auth_required":true}`)
			if err := p.UpgradeTLS(server); err != nil {
				t.Error(err)
			}
			p.UpgradeSnappy()
			p.Expect("AUTH")
			p.Heartbeat()
			p.Heartbeat()
			p.Response(`{"permission_count":1}`)
			p.Expect("SUB")
			p.Heartbeat()
			p.Response("OK")
			for range 4 {
				_, _ = p.Next()
			}
			if got := fmt.Sprint(p.Log[1:]); got != "[AUTH SUB orders billing NOP]" {
				t.Errorf("sent %s after IDENTIFY", got)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestGarbage sends garbage in place of an answer, in each phase.
func TestGarbage(t *testing.T) {
	frame := func(typ int32, s string) string { return string(fake.Frame(typ, []byte(s))) }
	tests := map[string]struct {
		bytes string
		want  string
		size  bool // permanent if nsqd has not answered anything before
	}{
		"nothing":        {"", "EOF", false},
		"1 byte":         {"\x00", "unexpected EOF", false},
		"header":         {"\x00\x00\x00\x06\x00\x00\x00", "unexpected EOF", false},
		"cut":            {"\x00\x00\x00\x06\x00\x00\x00\x00O", "unexpected EOF", false},
		"size ffffffff":  {"\xff\xff\xff\xff", "frame size 4294967295", true},
		"size 7fffffff":  {"\x7f\xff\xff\xff", "frame size 2147483647", true},
		"size 3":         {"\x00\x00\x00\x03", "frame size 3", true},
		"64 KiB + 1":     {"\x00\x01\x00\x05\x00\x00\x00\x00", "frame size 65541", true},
		"type 3":         {frame(3, "OK"), "frame type 3", true},
		"type -1":        {frame(-1, "OK"), "frame type -1", true},
		"M13: message":   {string(fake.Message(1, fake.ID(1), 1, []byte("body"))), "message before it answered SUB", false},
		"short message":  {frame(2, ""), "message before it answered SUB", false},
		"heartbeat, end": {frame(0, "_heartbeat_"), "EOF", false},
		"HTTP":           {"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP port", true},
		"TLS alert":      {"\x15\x03\x01\x00\x02\x02\x46", "the peer speaks TLS", true},
		"SSH":            {"SSH-2.0-OpenSSH_9.6\r\n", "SSH port", true},
		"lookupd":        {"\x00\x00\x00\x0eE_BAD_PROTOCOL", "nsqlookupd", true},
	}
	for name, tt := range tests {
		for _, phase := range []conn.Phase{conn.PhaseIdentify, conn.PhaseAuth, conn.PhaseSubscribe} {
			bubbles(t, fmt.Sprint(name, " ", phase), func(t *testing.T) {
				cfg := conn.Config{AuthSecret: secret("sesame"), AllowPlaintextAuth: true}
				_, err := shake(t, t.Context(), cfg, orders, func(p *fake.Peer) {
					upTo(phase, p)
					p.Raw([]byte(tt.bytes))
				})
				wantError(t, err, phase, tt.size && phase == conn.PhaseIdentify)
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error is %v, want %q", err, tt.want)
				}
			})
		}
	}
	// Valid answers to another command.
	for _, answer := range []string{"", "ok", "CLOSE_WAIT", "{}"} {
		bubbles(t, fmt.Sprintf("answer %q to SUB", answer), func(t *testing.T) {
			_, err := shake(t, t.Context(), conn.Config{}, orders, func(p *fake.Peer) {
				p.Identify(nil)
				p.Expect("SUB")
				p.Response(answer)
			})
			wrong, ok := errors.AsType[*conn.AnswerError](wantError(t, err, conn.PhaseSubscribe, true))
			if !ok || *wrong != (conn.AnswerError{Command: "SUB", Value: answer, Reason: "want OK"}) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// TestSlow checks that the handshake times out however slowly data arrives, and that data does not
// extend the timeout.
func TestSlow(t *testing.T) {
	drip := func(p *fake.Peer, b []byte, every time.Duration) {
		for ; p.WriteErr() == nil; time.Sleep(every) {
			p.Raw(b[:1])
			b = append(b[1:], b[0])
		}
	}
	a := newAuthority(t)
	server := a.server()
	tests := map[string]struct {
		phase  conn.Phase
		cfg    conn.Config
		script func(p *fake.Peer)
	}{
		"silent":     {conn.PhaseIdentify, conn.Config{}, func(p *fake.Peer) { p.HalfClosed() }},
		"M20: drip":  {conn.PhaseIdentify, conn.Config{}, func(p *fake.Peer) { drip(p, fake.Frame(0, make([]byte, 60_000)), 300*time.Millisecond) }},
		"heartbeats": {conn.PhaseSubscribe, conn.Config{}, func(p *fake.Peer) { p.Identify(nil); beats(p) }},
		"TLS": {conn.PhaseTLS, conn.Config{TLS: a.client()}, func(p *fake.Peer) {
			p.Identify(map[string]any{"tls_v1": true})
			p.Conn.Write([]byte("\x16\x03\x03"))
			_, _ = io.Copy(io.Discard, p.Conn)
		}},
		"TLS OK": {conn.PhaseTLS, conn.Config{TLS: a.client()}, func(p *fake.Peer) {
			p.Identify(map[string]any{"tls_v1": true})
			under := fake.NewPeer(t, silencer{p.Conn})
			_ = under.UpgradeTLS(server)
			under.HalfClosed()
		}},
		"snappy": {conn.PhaseCompression, conn.Config{Compression: conn.Snappy}, func(p *fake.Peer) {
			p.Identify(map[string]any{"snappy": true})
			p.Raw([]byte("\xff\x06\x00\x00sNaPpY"))
			drip(p, []byte("\x80\x01\x00\x00\x00"), time.Second)
		}},
		"M29: deflate": {conn.PhaseCompression, conn.Config{Compression: conn.Deflate}, func(p *fake.Peer) {
			p.Identify(map[string]any{"deflate": true})
			drip(p, []byte("\x00\x00\x00\xff\xff"), time.Second)
		}},
		"flood": {conn.PhaseCompression, conn.Config{Compression: conn.Snappy}, func(p *fake.Peer) {
			p.Identify(map[string]any{"snappy": true})
			p.Raw([]byte("\xff\x06\x00\x00sNaPpY"))
			for ; p.WriteErr() == nil; time.Sleep(100 * time.Millisecond) {
				p.Raw(bytes.Repeat([]byte("\x80\x01\x00\x00\x00"), 2000))
			}
		}},
		"AUTH": {conn.PhaseAuth, conn.Config{AuthSecret: secret("sesame"), AllowPlaintextAuth: true}, func(p *fake.Peer) { upTo(conn.PhaseAuth, p); beats(p) }},
		"a secret": {conn.PhaseAuth, conn.Config{AllowPlaintextAuth: true, AuthSecret: func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}}, func(p *fake.Peer) { p.Identify(map[string]any{"auth_required": true}); p.HalfClosed() }},
		"SUB": {conn.PhaseSubscribe, conn.Config{}, func(p *fake.Peer) { p.Identify(nil); p.HalfClosed() }},
		"does not read": {conn.PhaseIdentify, conn.Config{UserAgent: strings.Repeat("x", 200)}, func(p *fake.Peer) {
			p.Client.SetBuffer(100)
			time.Sleep(time.Hour)
		}},
	}
	for name, tt := range tests {
		bubbles(t, name+": timeout", func(t *testing.T) {
			start := time.Now()
			_, err := shake(t, t.Context(), tt.cfg, orders, tt.script)
			failure := wantError(t, err, tt.phase, false)
			if d := time.Since(start); d != 10*time.Second {
				t.Errorf("took %v", d)
			}
			if !errors.Is(failure, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "not done within 10s") ||
				errors.Is(failure, context.Canceled) || errors.Is(failure, context.DeadlineExceeded) {
				t.Errorf("error is %v", err)
			}
		})
		bubbles(t, name+": cancelled", func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cause := errors.New("that is why")
			start := time.Now()
			time.AfterFunc(1500*time.Millisecond, func() { cancel(cause) })
			_, err := shake(t, ctx, tt.cfg, orders, tt.script)
			failure := wantError(t, err, tt.phase, false)
			if d := time.Since(start); d != 1500*time.Millisecond {
				t.Errorf("took %v", d)
			}
			if !errors.Is(failure, context.Canceled) || !errors.Is(failure, cause) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func beats(p *fake.Peer) {
	for ; p.WriteErr() == nil; time.Sleep(time.Second) {
		p.Heartbeat()
	}
}

// silencer passes a TLS handshake, but none of the server's application data.
type silencer struct{ net.Conn }

func (s silencer) Write(b []byte) (int, error) {
	if len(b) > 0 && b[0] == 0x17 && len(b) < 64 { // the record with OK; handshake records are longer
		return len(b), nil
	}
	return s.Conn.Write(b)
}
