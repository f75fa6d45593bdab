package test

import (
	"context"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestQuietAfterBacklog: whatever the window was when the backlog ended, the single message that comes later does not wait in nsqd's
// buffer.
func TestQuietAfterBacklog(t *testing.T) {
	for name, opt := range map[string]nsqx.ConsumerOption{"defaults": nil, "max in flight": nsqx.WithMaxInFlight(100)} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			var w waits
			_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
				if body == "single" {
					w.note(ctx)
				}
				return nil
			}, nsqx.WithConcurrency(2), opt)
			for backlog := range 60 {
				publish(s, 2+17*backlog)
				time.Sleep(500 * time.Millisecond)
				want(t, "RDY", rdy(t, s), 1)
				s.Publish("orders", []byte("single"))
				time.Sleep(500 * time.Millisecond)
			}
			if most := w.most(); most > time.Millisecond {
				t.Errorf("a message has waited %v, want 1ms at most", most)
			}
		})
	}
}
