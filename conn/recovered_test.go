package conn_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestPanicsOfTheCaller: a function of the Config that panics fails its dial, and nothing else.
func TestPanicsOfTheCaller(t *testing.T) {
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

// TestBufferTimeoutAgainstMessageTimeout: what nsqd may hold back must leave time for an answer.
func TestBufferTimeoutAgainstMessageTimeout(t *testing.T) {
	for _, tt := range []struct {
		asked, answered time.Duration
		ok              bool
	}{
		{0, 250 * time.Millisecond, true},
		{0, 5 * time.Second, true}, // nsqd's own: the margin is capped
		{time.Second, time.Second, true},
		{1001 * time.Millisecond, 1001 * time.Millisecond, false},
	} {
		network := fake.NewNetwork(t, func(p *fake.Peer) {
			p.Subscribe(map[string]any{"msg_timeout": 4000, "output_buffer_timeout": tt.answered.Milliseconds()})
		})
		cfg := conn.Config{DialContext: network.DialContext, OutputBufferTimeout: tt.asked}
		sub := &conn.Subscription{Topic: "orders", Channel: "billing"}
		if !tt.ok {
			network = fake.NewNetwork(t, func(p *fake.Peer) {
				p.Identify(map[string]any{"msg_timeout": 4000, "output_buffer_timeout": tt.answered.Milliseconds()})
				_, _ = p.Next()
			})
			cfg.DialContext = network.DialContext
		}
		c, err := conn.Dial(t.Context(), "nsqd:4150", cfg, sub)
		if c != nil {
			c.Abort(nil)
		}
		if (err == nil) != tt.ok {
			t.Errorf("asked for %v, got %v: error is %v", tt.asked, tt.answered, err)
		}
		if e, ok := errors.AsType[*conn.AnswerError](err); !tt.ok && (!ok || e.Field != "output_buffer_timeout") {
			t.Errorf("error is %v, want one about output_buffer_timeout", err)
		}
	}
}
