package test

import (
	"context"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestQuietForLong: how long a topic was quiet is no round trip of the network. It must not open the window, nor put off pokes.
func TestQuietForLong(t *testing.T) {
	for _, gap := range []time.Duration{20 * time.Millisecond, 300 * time.Millisecond, time.Second, 7 * time.Second} {
		bubble(t, gap.String(), func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			var w waits
			c, _ := consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, _ string) error {
				w.note(ctx)
				return nil
			}, nsqx.WithConcurrency(8))
			var rtt time.Duration
			window := 1
			for range 100 {
				publish(s, 1)
				time.Sleep(gap)
				rtt = max(rtt, c.Stats().Connections[0].RTT)
				window = max(window, c.Stats().Connections[0].Window)
			}
			if rtt > time.Millisecond {
				t.Errorf("the round trip in memory is %v", rtt)
			}
			if window > 2 {
				t.Errorf("the window was %d on a quiet topic", window)
			}
			if most := w.most(); most > time.Millisecond {
				t.Errorf("a message has waited %v, want 1ms at most", most)
			}
		})
	}
}
