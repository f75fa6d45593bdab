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

// TestPublishAllAllocatesLittle: a message with an id makes at most two allocations, beyond those of the
// codec and of the key.
func TestPublishAllAllocatesLittle(t *testing.T) {
	const n = 10000
	ok := fake.Frame(fake.FrameResponse, []byte("OK"))
	addr := fake.Listen(t, func(p *fake.Peer) {
		p.Identify(nil)
		for {
			if _, err := p.Next(); err != nil {
				return
			}
			p.Raw(ok)
		}
	})
	values := make([][]byte, n)
	for i := range values {
		values[i] = make([]byte, 200)
	}
	for name, tt := range map[string]struct {
		opt  nsqx.ProducerOption
		most float64 // a message, beside 1000 for all, of which many are those of the peer
	}{
		"no envelope": {nsqx.WithCloseTimeout(0), 0},
		"ids":         {nsqx.WithEnvelope(), 2},
		"keys, too":   {nsqx.WithKey(func([]byte) string { return "k" }), 2},
	} {
		p, err := nsqx.NewProducer("orders", codec.Bytes(), nsqx.WithNSQD(addr), nsqx.WithLogger(discard), tt.opt)
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		got := testing.AllocsPerRun(5, func() {
			if _, err := p.PublishAll(ctx, values); err != nil {
				t.Error(err)
			}
		})
		wantErr(t, "Shutdown", p.Shutdown(ctx), nil)
		t.Logf("%s: %.3f allocations a message", name, got/n)
		if got > tt.most*n+1000 {
			t.Errorf("%s: %.3f allocations a message, want at most %v", name, got/n, tt.most)
		}
	}
}
