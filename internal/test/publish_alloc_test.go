//go:build !race

// Under the race detector a sync.Pool forgets things on purpose.

package test

import (
	"testing"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestProducerAllocatesLittle: a publish makes one allocation, the Outgoing, beyond those of the
// codec.
func TestProducerAllocatesLittle(t *testing.T) {
	const size = len("PUB orders\n") + 4 + 200
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
	p, err := nsqx.NewProducer("orders", codec.Bytes(), nsqx.WithNSQD(addr), nsqx.WithLogger(discard))
	if err != nil {
		t.Fatal(err)
	}
	ctx, body := t.Context(), make([]byte, 200)
	got := testing.AllocsPerRun(500, func() {
		if err := p.Publish(ctx, body); err != nil {
			t.Error(err)
		}
	})
	wantErr(t, "Shutdown", p.Shutdown(ctx), nil)
	if got > 1 {
		t.Errorf("%v allocations a publish, want at most 1", got)
	}
}
