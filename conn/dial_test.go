package conn_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
)

// Tests of dial.go.

// TestConfigFunctionPanics checks that a panic in a function of the Config fails only the Dial.
func TestConfigFunctionPanics(t *testing.T) {
	network := fake.NewNetwork(t, func(p *fake.Peer) {
		p.Identify(map[string]any{"auth_required": true})
		_, _ = p.Next()
	})
	for name, tt := range map[string]struct {
		cfg   conn.Config
		phase conn.Phase
	}{
		"DialContext": {conn.Config{
			DialContext: func(context.Context, string, string) (net.Conn, error) { panic("boom") },
		}, conn.PhaseDial},
		"AuthSecret": {conn.Config{
			DialContext:        network.DialContext,
			AuthSecret:         func(context.Context) (string, error) { panic("boom") },
			AllowPlaintextAuth: true,
		}, conn.PhaseAuth},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := conn.Dial(t.Context(), "nsqd:4150", tt.cfg, nil)
			e, ok := errors.AsType[*conn.Error](err)
			if !ok || e.Phase != tt.phase {
				t.Fatalf("error is %v, want one of phase %s", err, tt.phase)
			}
			if p, ok := errors.AsType[*handler.PanicError](err); !ok || p.Value != "boom" {
				t.Errorf("error is %v, want the panic", err)
			}
		})
	}
}

func TestCheckAddress(t *testing.T) {
	label := strings.Repeat("a", 63)
	long := label + "." + label + "." + label + "." + label[:61]
	good := []string{"127.0.0.1:4150", "nsqd.example:1", "[::1]:65535", "unix:///run/nsqd.sock", "nsqd_1.zone-a:4150", "NSQD.Example.:4150", "127.1:4150",
		"8f14e45f:4150", "[fe80::1%eth0]:4150", "[fe80::1%Ethernet 2]:4150", "unix:///run/a b?", label + ":1", long + ":1", long + ".:1"}
	bad := []string{"", "nsqd", ":4150", "nsqd:", "nsqd:0", "nsqd:65536", "nsqd:-1", "nsqd:nsq", "::1:4150", "a:b:1", "unix://", "unix://run/nsqd",
		" nsqd:4150", "nsqd :4150", "a b:4150", "nsqd\n:4150", "nsqd\x00:4150", "nsqd\x7f:4150", "a/b:4150", "http://nsqd:4150", "user@nsqd:4150", "nsqd,nsqd:4150",
		"*:4150", "a?b:4150", "löökup:4150", "nsqd\xff:4150", "[::1]a:4150", "[::1:4150", "[::g]:4150", "[127.0.0.1%eth0]:4150", "[fe80::1%a\x00]:4150",
		".:4150", ".nsqd:4150", "a..b:4150", "-a:4150", "a-:4150", "a.-b:4150", label + "a:1", long + "a:1", "unix:///run/a\x00b"}
	for _, addr := range good {
		if err := conn.CheckAddress(addr); err != nil {
			t.Errorf("%q: %v", addr, err)
		}
	}
	for _, addr := range bad {
		_, ok := errors.AsType[*net.AddrError](conn.CheckAddress(addr))
		_, err := conn.Handshake(t.Context(), addr, conn.Config{}, nil)
		failure, dialled := errors.AsType[*conn.Error](err)
		if !ok || !dialled || failure.Phase != conn.PhaseDial || !failure.Permanent() || failure.Addr != addr {
			t.Errorf("%q: %v, then %v", addr, ok, err)
		}
	}
}

func TestDial(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	dialler := func(f func(ctx context.Context) (net.Conn, error)) conn.Config {
		return conn.Config{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if network != "tcp" || addr != address {
				t.Errorf("dials %s %s", network, addr)
			}
			return f(ctx)
		}}
	}
	hangs := dialler(func(ctx context.Context) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
	})
	bubbles(t, "refused", func(t *testing.T) {
		_, err := conn.Handshake(t.Context(), address, dialler(func(context.Context) (net.Conn, error) { return nil, refused }), nil)
		if !errors.Is(wantError(t, err, conn.PhaseDial, false), syscall.ECONNREFUSED) {
			t.Errorf("error is %v", err)
		}
	})
	bubbles(t, "timeout", func(t *testing.T) {
		start := time.Now()
		_, err := conn.Handshake(t.Context(), address, hangs, nil)
		wantError(t, err, conn.PhaseDial, false)
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("took %v", d)
		}
	})
	bubbles(t, "cancelled", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := conn.Handshake(ctx, address, hangs, nil)
		if wantError(t, err, conn.PhaseDial, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
	})
	bubbles(t, "nothing", func(t *testing.T) {
		_, err := conn.Handshake(t.Context(), address, dialler(func(context.Context) (net.Conn, error) { return nil, nil }), nil)
		wantError(t, err, conn.PhaseDial, false)
	})
	t.Run("unix", func(t *testing.T) {
		cfg := conn.Config{DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			if network != "unix" || addr != "/run/nsqd.sock" {
				t.Errorf("dials %s %s", network, addr)
			}
			return nil, refused
		}}
		if _, err := conn.Handshake(t.Context(), "unix:///run/nsqd.sock", cfg, nil); err == nil ||
			!strings.Contains(err.Error(), "nsqd unix:///run/nsqd.sock: dial: ") {
			t.Errorf("error is %v", err)
		}
	})
}
