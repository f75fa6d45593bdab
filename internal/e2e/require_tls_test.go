package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestPublishWithoutTLS: an nsqd that requires TLS, or a certificate of the client, refuses a producer
// only after the handshake. Its messages go to another nsqd; without one, the error says what to set.
func TestPublishWithoutTLS(t *testing.T) {
	t.Parallel()
	ca := testnsqd.NewAuthority(t)
	for name, tt := range map[string]struct {
		strict *testnsqd.Server
		cfg    conn.Config
		want   func(error) bool
	}{
		"TLS required":         {testnsqd.Start(t, ca.RequireTLS), conn.Config{}, func(err error) bool { return errors.Is(err, conn.ErrTLSRequired) }},
		"certificate required": {testnsqd.Start(t, ca.RequireClientCert), conn.Config{TLS: ca.ClientConfig()}, alert("certificate required")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := testnsqd.Start(t, ca.Serve)
			p := newProducer(t, topic, nsqx.WithNSQD(tt.strict.Addr(), other.Addr()), nsqx.WithConn(tt.cfg))
			var bodies []string
			for i := range 50 {
				bodies = append(bodies, fmt.Sprint(i))
				if err := p.Publish(t.Context(), bodies[i]); err != nil {
					t.Fatal(err)
				}
			}
			wantOnce(t, other, topic, bodies)

			alone := newProducer(t, topic, nsqx.WithNSQD(tt.strict.Addr()), nsqx.WithConn(tt.cfg))
			eventually(t, func() bool { return tt.want(alone.Healthy()) }, "the producer to be unhealthy, not %v", alone.Healthy())
			for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
				if err := alone.Healthy(); !tt.want(err) {
					t.Fatalf("Healthy returned %v", err)
				}
			}
			err := alone.Publish(t.Context(), "x")
			wantKind(t, "publish", err, nsqx.ErrNotSent)
			if !tt.want(err) {
				t.Error(err)
			}
		})
	}
}
