//go:build !race

// Under the race detector a sync.Pool forgets things on purpose.

package test

import (
	"testing"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestProducerAllocatesLittle: beyond what the codec needs, a publish makes one allocation, the
// Outgoing. One of many messages makes a few, none of which is for payloads.
func TestProducerAllocatesLittle(t *testing.T) {
	ctx, body := t.Context(), make([]byte, 200)
	many := make([][]byte, 100)
	for i := range many {
		many[i] = body
	}
	for name, tt := range map[string]struct {
		size    int // bytes of the command
		publish func(p *nsqx.Producer[[]byte]) error
		most    float64
	}{
		"Publish": {len("PUB orders\n") + 4 + 200, func(p *nsqx.Producer[[]byte]) error { return p.Publish(ctx, body) }, 1},
		"PublishAll": {len("MPUB orders\n") + 4 + 4 + 100*(4+200), func(p *nsqx.Producer[[]byte]) error {
			_, err := p.PublishAll(ctx, many)
			return err
		}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := nsqx.NewProducer("orders", codec.Bytes(), nsqx.WithNSQD(answering(t, tt.size)), nsqx.WithLogger(discard))
			if err != nil {
				t.Fatal(err)
			}
			got := testing.AllocsPerRun(500, func() {
				if err := tt.publish(p); err != nil {
					t.Error(err)
				}
			})
			wantErr(t, "Shutdown", p.Shutdown(ctx), nil)
			if got > tt.most {
				t.Errorf("%v allocations a publish, want at most %v", got, tt.most)
			}
		})
	}
}

// answering starts an nsqd that allocates nothing. It answers each command, all of one size, with OK.
func answering(t *testing.T, size int) (addr string) {
	ok := fake.Frame(fake.FrameResponse, []byte("OK"))
	return fake.Listen(t, func(p *fake.Peer) {
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
}
