package e2e

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestHang: all handlers hang for three message timeouts, then recover. Every message is handled in
// the end, however many attempts it took. None is given up, because no handler has failed.
func TestHang(t *testing.T) {
	t.Parallel()
	const (
		n, concurrency = 60, 4
		timeout        = 300 * time.Millisecond
	)
	tests := map[string][]nsqx.ConsumerOption{
		"no bounds":              nil,
		"MaxAttempts 1":          {nsqx.WithMaxAttempts(1), nsqx.WithDeadLetter("dead")},
		"MaxAttempts 3, MaxAge":  {nsqx.WithMaxAttempts(3), nsqx.WithMaxAge(time.Millisecond), nsqx.WithDeadLetter("dead")},
		"MaxAttempts 2, discard": {nsqx.WithMaxAttempts(2), nsqx.WithDiscard()},
	}
	for name, opts := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				s := testnsqd.Start(t, messageTimeout(timeout))
				s.EnsureChannel("dead", channel)
				book, w := newLedger(), new(watch)
				recovered := make(chan struct{})
				c := newConsumer(t, func(ctx context.Context, body string) error {
					book.begin(ctx, body)
					await(t, recovered)
					book.succeed(body)
					return nil
				}, append(opts, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(concurrency), nsqx.WithMaxInFlight(16), nsqx.WithHooks(w.hooks()))...)
				bodies := numbered("m", n)
				publish(t, s, topic, bodies...)
				r := start(t, c)
				eventually(t, func() bool { return c.Stats().Running == concurrency }, "handlers that hang")
				time.Sleep(3 * timeout)
				eventually(t, func() bool { return s.Channel(topic, channel).TimedOut >= concurrency }, "message timeouts")
				stats := c.Stats()
				if held := stats.Running + stats.Queued; held > concurrency+2*16+1 {
					t.Errorf("%d messages are held", held)
				}
				if err := c.Healthy(); !errors.Is(err, nsqx.ErrStuck) {
					t.Errorf("healthy: %v", err)
				}
				close(recovered)
				book.wait(t, n)
				finished(t, s, c, n)
				r.mustStop()

				book.complete(t, bodies)
				if got := dispositions(w); slices.ContainsFunc(got, func(d handler.Disposition) bool { return d != handler.Finish }) {
					t.Errorf("outcomes %v, want FIN alone", got)
				}
				if letters := s.Channel("dead", channel).Messages; letters > 0 {
					t.Errorf("%d dead letters, nsqd says %+v", letters, s.Channel(topic, channel))
				}
				if link := c.Stats().Connections[0]; link.Dials != 1 || link.InFlight != 0 {
					t.Errorf("connection %+v, want the first one, with nothing left in flight", link)
				}
			})
		})
	}
}

// TestHangHonoursContext is TestHang with handlers that return when their context ends. These runs
// fail, so MaxAttempts counts them. A message whose context has ended in the queue does not reach a
// handler: it is requeued.
func TestHangHonoursContext(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const n = 40
		s := testnsqd.Start(t, messageTimeout(time.Second))
		s.EnsureChannel("dead", channel)
		book := newLedger()
		recovered := make(chan struct{})
		var runs, late atomic.Int64
		c := newConsumer(t, func(ctx context.Context, body string) error {
			runs.Add(1)
			if ctx.Err() != nil {
				late.Add(1)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-recovered:
				book.succeed(body)
				return nil
			}
		}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(32),
			nsqx.WithMaxAttempts(100), nsqx.WithDeadLetter("dead"), at(0))
		bodies := numbered("m", n)
		publish(t, s, topic, bodies...)
		r := start(t, c)
		eventually(t, func() bool { return runs.Load() >= 4*4 }, "four runs of each handler")
		close(recovered)
		book.wait(t, n)
		finished(t, s, c, n)
		r.mustStop()
		book.complete(t, bodies)
		if late.Load() > runs.Load()/8 { // a context may end just as its handler starts
			t.Errorf("%d of %d runs began with a context that had ended", late.Load(), runs.Load())
		}
		if letters := s.Channel("dead", channel).Messages; letters > 0 {
			t.Errorf("%d dead letters", letters)
		}
		stats := c.Stats()
		if got := int(stats.Finished); got < n || stats.Dropped+stats.DeadLettered+stats.Lost > 0 {
			t.Errorf("stats %+v", stats)
		}
	})
}
