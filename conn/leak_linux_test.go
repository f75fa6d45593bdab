package conn_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestDescriptors checks that 200 failed handshakes in each phase leave no file descriptor.
// Goroutines are checked by goleak.
func TestDescriptors(t *testing.T) {
	a := newAuthority(t)
	server := a.server()
	phases := []struct {
		phase  conn.Phase
		script func(p *fake.Peer)
	}{
		{conn.PhaseIdentify, func(p *fake.Peer) { p.Magic() }},
		{conn.PhaseTLS, func(p *fake.Peer) {
			p.Identify(map[string]any{"tls_v1": true})
			_, _ = p.Conn.Read(make([]byte, 1))
		}},
		{conn.PhaseCompression, func(p *fake.Peer) {
			p.Identify(map[string]any{"tls_v1": true, "snappy": true})
			_ = p.UpgradeTLS(server)
			p.Raw([]byte("garbage"))
			_, _ = p.Next()
		}},
		{conn.PhaseAuth, func(p *fake.Peer) {
			p.Identify(map[string]any{"tls_v1": true, "auth_required": true})
			_ = p.UpgradeTLS(server)
			p.Expect("AUTH")
			p.Error("E_AUTH_FAILED")
		}},
		{conn.PhaseSubscribe, func(p *fake.Peer) {
			p.Identify(map[string]any{"tls_v1": true})
			_ = p.UpgradeTLS(server)
			p.Expect("SUB")
			p.Error("E_SUB_FAILED")
		}},
	}
	const each = 200
	addr := fake.Listen(t, func(p *fake.Peer) { phases[(p.N-1)/each].script(p) })
	client := a.client()
	client.ServerName = "nsqd-1"
	cfg := conn.Config{TLS: client, Compression: conn.Snappy, CompressionOptional: true, AuthSecret: secret("sesame")}
	before := descriptors(t)
	for _, phase := range phases {
		for range each {
			_, err := conn.Handshake(t.Context(), addr, cfg, orders)
			if failure, ok := err.(*conn.Error); !ok || failure.Phase != phase.phase || failure.Addr != addr {
				t.Fatalf("error is %v, want one of phase %s", err, phase.phase)
			}
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for n := descriptors(t); n > before; n = descriptors(t) { // the scripts close their ends a little later
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors, %d before", n, before)
		}
		time.Sleep(time.Millisecond)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestStreamsLeaveNothing runs 100 TCP connections for each way to end. After Serve neither a
// goroutine nor a file descriptor may be left.
func TestStreamsLeaveNothing(t *testing.T) {
	const each = 100
	ends := []struct {
		name   string
		script func(p *fake.Peer)
		client func(c *conn.Conn)
		good   bool
	}{
		{"closed by nsqd", func(*fake.Peer) {}, func(*conn.Conn) {}, false},
		{"reset by nsqd", func(p *fake.Peer) { p.Reset() }, func(*conn.Conn) {}, false},
		{"error", func(p *fake.Peer) { p.Error("E_INVALID") }, func(*conn.Conn) {}, false},
		{"garbage", func(p *fake.Peer) { p.Raw(make([]byte, 100)) }, func(*conn.Conn) {}, false},
		{"half-closed", func(p *fake.Peer) { p.HalfClosed() }, func(c *conn.Conn) { c.CloseWrite() }, true},
		{"aborted", func(p *fake.Peer) { _, _ = p.Next() }, func(c *conn.Conn) { c.Abort(nil) }, false},
	}
	addr := fake.Listen(t, func(p *fake.Peer) {
		p.Subscribe(nil)
		p.Message(fake.ID(1), 1, nil)
		ends[(p.N-1)/each].script(p)
	})
	running := goleak.IgnoreCurrent()
	before := descriptors(t)
	for _, end := range ends {
		for range each {
			c, err := conn.Dial(t.Context(), addr, conn.Config{}, orders)
			if err != nil {
				t.Fatal(end.name, err)
			}
			end.client(c)
			err = c.Serve(new(streamSink))
			if end.good && (err == nil || errors.Is(err, conn.ErrNotConfirmed)) {
				continue // a busy machine may delay nsqd's end
			}
			if end.good || !isErr[*conn.Error](err) {
				t.Errorf("%s: Serve returned %v", end.name, err)
			}
		}
	}
	// nsqd's end is in this process, too, and may close a little later.
	for deadline := time.Now().Add(10 * time.Second); descriptors(t) > before && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
	goleak.VerifyNone(t, running)
}
