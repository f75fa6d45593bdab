package test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/nsqxtest"
)

// waits are the times from publish to handler of numbered messages.
type waits struct {
	mu   sync.Mutex
	sent map[int]time.Time
	took []time.Duration // in the order of handlers
}

func (w *waits) publish(s *scene, nsqd, n int) {
	w.mu.Lock()
	if w.sent == nil {
		w.sent = make(map[int]time.Time)
	}
	w.sent[n] = time.Now()
	w.mu.Unlock()
	s.publish(nsqd, n)
}

func (w *waits) handled(n int) {
	w.mu.Lock()
	w.took = append(w.took, time.Since(w.sent[n]))
	w.mu.Unlock()
}

// above returns how many messages have waited for longer than d, and the longest wait.
func (w *waits) above(d time.Duration) (n int, longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, took := range w.took {
		if longest = max(longest, took); took > d {
			n++
		}
	}
	return n, longest
}

// TestSlowAmongQuick: among quick handlers a few slow ones, or one that hangs, hold up hardly any other
// message, although goroutines that read handle them.
func TestSlowAmongQuick(t *testing.T) {
	for _, tt := range []struct {
		name     string
		slow     func(n int) time.Duration
		delayed  int // of 60 000 at most
		longest  time.Duration
		waitless time.Duration
	}{
		{"all quick", func(int) time.Duration { return 0 }, 0, 2 * time.Millisecond, 2 * time.Millisecond},
		{"one of a thousand", func(n int) time.Duration {
			if n%1000 == 999 {
				return 50 * time.Millisecond
			}
			return 0
		}, 600, 60 * time.Millisecond, 2 * time.Millisecond},
		{"one of a hundred", func(n int) time.Duration {
			if n%100 == 99 {
				return 20 * time.Millisecond
			}
			return 0
		}, 600, 30 * time.Millisecond, 2 * time.Millisecond},
		{"one hangs", func(n int) time.Duration {
			if n == 30_000 {
				return 30 * time.Second
			}
			return 0
		}, 1200, 1200 * time.Millisecond, 2 * time.Millisecond},
		{"quick, then none", func(n int) time.Duration {
			if n > 30_000 {
				return 5 * time.Millisecond
			}
			return 0
		}, 600, 1200 * time.Millisecond, 12 * time.Millisecond},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s, w := newScene(t, 2, 0), new(waits)
			s.consume(func(_ context.Context, n int) error {
				w.handled(n)
				if d := tt.slow(n); d > 0 {
					time.Sleep(d)
				}
				return nil
			}, nsqx.WithConcurrency(16))
			for n := range 60_000 {
				w.publish(s, n%2, n)
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			n, longest := w.above(tt.waitless)
			t.Logf("%d of %d have waited for more than %v, at most %v", n, len(w.took), tt.waitless, longest)
			want(t, "handled", len(w.took), 60_000)
			if n > tt.delayed || longest > tt.longest {
				t.Errorf("%d messages have waited, at most %v; want %d, %v", n, longest, tt.delayed, tt.longest)
			}
		})
	}
}

// TestHangOnEachNSQD: handlers that hang on every nsqd at once do not keep connections from answering
// heartbeats, and the rest of the workers handle what comes.
func TestHangOnEachNSQD(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		const nsqds = 8
		s, w := newScene(t, nsqds, 0, nsqxtest.WithoutLog()), new(waits)
		hang, _, release := hangs()
		c, _ := s.consume(func(ctx context.Context, n int) error {
			w.handled(n)
			if n >= 1000 && n < 1000+nsqds {
				return hang(ctx, "")
			}
			return nil
		}, nsqx.WithConcurrency(nsqds+1))
		for n := range 1000 {
			w.publish(s, n%nsqds, n)
			time.Sleep(time.Millisecond)
		}
		for n := range nsqds {
			w.publish(s, n, 1000+n)
		}
		time.Sleep(2 * time.Second)
		for n := range 1000 {
			w.publish(s, n%nsqds, 2000+n)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(45 * time.Second) // more than a heartbeat
		st := c.Stats()
		want(t, "running", st.Running, nsqds)
		want(t, "connections", len(st.Connections), nsqds)
		want(t, "handled", len(w.took), 2000+nsqds)
		_, longest := w.above(0)
		if longest > 100*time.Millisecond {
			t.Errorf("the longest wait is %v", longest)
		}
		release()
	})
}
