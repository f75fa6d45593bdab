package e2e

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestLowerMaxInFlightKeepsConnection: MaxInFlight is lowered while messages of the earlier RDY are
// on their way. nsqd is not at fault: the connection stays, and all messages are handled, none
// requeued.
func TestLowerMaxInFlightKeepsConnection(t *testing.T) {
	t.Parallel()
	const n = 200
	s := testnsqd.Start(t)
	p := testnsqd.StartProxy(t, s.Addr())
	book, w := newLedger(), new(watch)
	release := make(chan struct{})
	c := newConsumer(t, func(ctx context.Context, body string) error {
		await(t, release)
		return handles(book)(ctx, body)
	}, nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(n), nsqx.WithFixedRDY(), nsqx.WithHooks(w.hooks()))
	s.EnsureChannel(topic, channel)
	r := start(t, c)
	w.connected(t, 1)
	eventually(t, func() bool { return c.Stats().Connections[0].RDY == n }, "RDY %d", n)
	p.Freeze(testnsqd.ToClient)
	publish(t, s, topic, numbered("m", n)...)
	eventually(t, func() bool { return s.Channel(topic, channel).InFlight == n }, "all messages to be on their way")
	must(t, c.SetMaxInFlight(1))
	eventually(t, func() bool { return c.Stats().Connections[0].RDY <= 1 }, "RDY 1")
	p.Thaw(testnsqd.ToClient)
	eventually(t, func() bool { return c.Stats().Connections[0].Received >= n || len(w.events(&w.disconnects)) > 0 }, "the messages")
	close(release)
	if ends := w.events(&w.disconnects); len(ends) > 0 {
		t.Fatalf("disconnected: %v", ends[0].Err)
	}
	finished(t, s, c, n)
	r.mustStop()
}

// TestMaxRequeueDelayOfAll: no REQ has a longer delay than WithMaxRequeueDelay, including REQs of
// messages that no handler has started.
func TestMaxRequeueDelayOfAll(t *testing.T) {
	t.Parallel()
	const most = 100 * time.Millisecond
	for name, tt := range map[string]struct {
		maxInFlight, sent, requeued int
		fail                        bool
	}{
		"too many at a time":     {1, 6, 2, false},
		"nearly all have failed": {100, 40, 40, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			delays := make(chan string, tt.sent)
			addr := fake.Listen(t, func(p *fake.Peer) {
				p.Subscribe(nil)
				p.Expect("RDY")
				var frames []byte
				for i := range tt.sent {
					frames = append(frames, fake.Message(time.Now().UnixNano(), fake.ID(uint64(i+1)), 1, []byte("m"))...)
				}
				p.Raw(frames)
				for {
					cmd, err := p.Next()
					if err != nil {
						return
					}
					if cmd.Name == "REQ" {
						select {
						case delays <- cmd.Params[1]:
						default:
						}
					}
				}
			})
			release := make(chan struct{})
			c := newConsumer(t, func(context.Context, string) error {
				if tt.fail {
					return errFailed
				}
				await(t, release)
				return nil
			}, nsqx.WithNSQD(addr), nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(tt.maxInFlight),
				at(0), nsqx.WithMaxRequeueDelay(most), nsqx.WithShutdownTimeout(0))
			r := start(t, c)
			for i := range tt.requeued {
				delay := receive(t, delays, fmt.Sprintf("REQ %d of %d", i+1, tt.requeued))
				if ms, err := strconv.Atoi(delay); err != nil || ms > int(most.Milliseconds()) {
					t.Errorf("REQ %d with the delay %s, want %v at most", i+1, delay, most)
				}
			}
			close(release)
			_ = r.stop()
		})
	}
}
