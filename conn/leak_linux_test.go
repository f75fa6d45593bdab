package conn_test

import (
	"os"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestDescriptors: 200 handshakes that fail in each phase leave no file descriptor. That they leave no goroutine is goleak's.
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
	for n := descriptors(t); n > before; n = descriptors(t) { // the scripts' ends close a little later
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
