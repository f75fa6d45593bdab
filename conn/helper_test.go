package conn_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
)

const address = "nsqd-1:4150"

// orders has a fixed RDY: what the window does is tested apart.
var orders = &conn.Subscription{Topic: "orders", Channel: "billing", FixedRDY: true}

// shake does a handshake with a script, in a bubble. If it fails, the socket must have been closed.
func shake(t *testing.T, ctx context.Context, cfg conn.Config, sub *conn.Subscription, script func(p *fake.Peer)) (*conn.Handshaken, error) {
	t.Helper()
	n := fake.NewNetwork(t, script)
	var nc net.Conn
	cfg.DialContext = func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
		nc, err = n.DialContext(ctx, network, addr)
		return nc, err
	}
	hs, err := conn.Handshake(ctx, address, cfg, sub)
	if err != nil {
		if nc != nil {
			if _, err := nc.Write(nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the socket is open after a failed handshake: %v", err)
			}
		}
		return nil, err
	}
	t.Cleanup(func() {
		_ = hs.Conn.Close()
		synctest.Wait() // the script reads to the end before the network's own cleanup
	})
	return hs, nil
}

// wantError checks the address, the phase, and whether a quick retry makes sense, and returns the *Error.
func wantError(t *testing.T, err error, phase conn.Phase, permanent bool) *conn.Error {
	t.Helper()
	failure, ok := err.(*conn.Error)
	if !ok {
		t.Fatalf("error is %T %v, want *conn.Error", err, err)
	}
	if failure.Addr != address || failure.Phase != phase || failure.Permanent() != permanent {
		t.Errorf("error is %v (phase %s, permanent %v); want phase %s, permanent %v", err, failure.Phase, failure.Permanent(), phase, permanent)
	}
	return failure
}

// bubbles runs f as a subtest in a bubble, which fails if a goroutine is left.
func bubbles(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}
