//go:build !race

// The race detector makes sync.Pool drop items at random.

package conn_test

import (
	"strings"
	"testing"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestPublishAllocatesLittle checks that Publish does not allocate once all pools are filled.
func TestPublishAllocatesLittle(t *testing.T) {
	p := pub("orders", strings.Repeat("x", 200))
	size := len("PUB orders\n") + 4 + 200
	ok := fake.Frame(fake.FrameResponse, []byte("OK"))
	addr := fake.Listen(t, func(p *fake.Peer) {
		p.Identify(nil)
		buf := make([]byte, 4096)
		for have := 0; ; have -= size {
			for have < size {
				n, err := p.Conn.Read(buf)
				if err != nil {
					return
				}
				have += n
			}
			if _, err := p.Conn.Write(ok); err != nil {
				return
			}
		}
	})
	c, err := conn.Dial(t.Context(), addr, conn.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = c.Serve(&streamSink{})
	}()
	ctx := t.Context()
	got := testing.AllocsPerRun(500, func() {
		if err := c.Publish(ctx, p); err != nil {
			t.Error(err)
		}
	})
	c.Abort(nil)
	<-served
	if got > 0 {
		t.Errorf("%v allocations a publish, want none", got)
	}
}
