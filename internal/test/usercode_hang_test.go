package test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// TestHangingHandlers: handlers hang for three message timeouts. Every message is handled at last,
// and none is given up unhandled, with limits of attempts or without. There are never too many
// messages in memory.
func TestHangingHandlers(t *testing.T) {
	for name, ways := range map[string]struct {
		opts   []nsqx.ConsumerOption
		answer error // of a handler after the hang
	}{
		"then succeed":              {nil, nil},
		"then fail":                 {nil, errBill},
		"then fail, bounds":         {opts(nsqx.WithMaxAttempts(1), nsqx.WithMaxAge(time.Second), nsqx.WithDiscard()), errBill},
		"then fail, dead letter":    {opts(nsqx.WithMaxAttempts(1), nsqx.WithDeadLetter("dead")), errBill},
		"then give up, dead letter": {opts(nsqx.WithMaxAttempts(1), nsqx.WithDeadLetter("dead")), retry.Permanent(errBill)},
	} {
		bubble(t, name, func(t *testing.T) {
			const n = 50
			d := newNSQDs(t)
			c := newChannel(t, d, time.Second)
			release := make(chan struct{})
			var hung atomic.Bool
			var handled synced[string]
			s := d.run(func(_ context.Context, body string) error {
				select {
				case <-release:
				default:
					hung.Store(true)
					<-release
					return ways.answer
				}
				handled.add(body)
				return nil
			}, append(ways.opts, nsqx.WithConcurrency(3), nsqx.WithMaxInFlight(12))...)
			synctest.Wait()
			c.publish(n)
			for range 150 {
				c.advance(20 * time.Millisecond)
				stats := s.Stats()
				if stats.Queued > 12 || stats.Running > 3 {
					t.Fatalf("%d queued, %d running", stats.Queued, stats.Running)
				}
			}
			want(t, "hung", hung.Load(), true)
			wantErr(t, "health while all hang", s.Healthy(), nsqx.ErrStuck)
			close(release)
			c.advance(10 * time.Second)

			c.wantFinished(n)
			seen := slices.Compact(slices.Sorted(slices.Values(handled.all())))
			if ways.answer != nil {
				want(t, "handled", len(seen), n)
			} else if len(seen) < n-3 {
				t.Errorf("%d of %d handled", len(seen), n)
			}
			stats := s.Stats()
			want(t, "given up", stats.Dropped+stats.DeadLettered, 0)
			want(t, "connections", len(d.all(nsqd1, true)), 1)
			s.wantStop(closeTime)
		})
	}
}

// TestChaos: handlers succeed, fail, panic and hang, and nsqd comes and goes. Nothing is lost, no
// message is finished without being handled, and no failure answers a later delivery.
func TestChaos(t *testing.T) {
	for seed := range uint64(8) {
		bubble(t, strconv.FormatUint(seed, 10), func(t *testing.T) {
			const n = 300
			random, faults := rand.New(rand.NewPCG(seed, 7)), rand.New(rand.NewPCG(seed, 8)) // for handlers and network
			d := newNSQDs(t)
			c := newChannel(t, d, time.Second)
			var mu sync.Mutex
			type delivery struct {
				id       string
				attempts uint16
			}
			handled, failed, running, most := map[string]int{}, map[delivery]bool{}, 0, 0
			c.requeued = func(id string, attempts uint16, ms int) {
				mu.Lock()
				defer mu.Unlock()
				if ms > 0 && !failed[delivery{id, attempts}] {
					t.Errorf("REQ %d for delivery %d of %s, which has not failed", ms, attempts, id)
				}
			}
			s := d.run(func(ctx context.Context, body string) (err error) {
				now := delivery{body, handler.FromContext(ctx).Attempts}
				mu.Lock()
				running++
				most = max(most, running)
				way, wait := random.IntN(10), time.Duration(random.IntN(100))*time.Millisecond
				mu.Unlock()
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					running--
					failed[now] = err != nil || way == 1
				}()
				time.Sleep(wait)
				switch way {
				case 0:
					return errBill
				case 1:
					panic(body)
				case 2:
					time.Sleep(2 * time.Second)
					return errBill
				case 3:
					return retry.After(wait, nil)
				}
				mu.Lock()
				defer mu.Unlock()
				handled[body]++
				return nil
			}, nsqx.WithConcurrency(8), nsqx.WithMaxInFlight(24), nsqx.WithRetry(retry.Linear(50*time.Millisecond, time.Second)))
			synctest.Wait()
			c.publish(n)
			for range 10 {
				c.advance(time.Duration(faults.IntN(3000)) * time.Millisecond)
				if faults.IntN(2) == 0 {
					d.line(nsqd1).p.Reset()
				}
			}
			c.advance(time.Minute)
			c.wantFinished(n)
			mu.Lock()
			for id, times := range c.finished {
				if handled[id] < times {
					t.Errorf("%s was finished %d times and handled %d times", id, times, handled[id])
				}
			}
			if most > 8 {
				t.Errorf("%d handlers at once", most)
			}
			mu.Unlock()
			for _, l := range d.all(nsqd1, true) {
				for _, cmd := range l.commands("REQ") {
					if strings.HasSuffix(cmd, " 10000") {
						t.Errorf("heard %q: a panic went by the policy", cmd)
					}
				}
			}
			s.stop()
		})
	}
}
