package test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestMoreServersThanMaxInFlight is row F25: they take turns, and nobody starves.
func TestMoreServersThanMaxInFlight(t *testing.T) {
	for _, tt := range []struct{ servers, most int }{{2, 1}, {3, 2}, {5, 1}, {5, 2}, {5, 4}, {12, 5}} {
		bubble(t, fmt.Sprintf("%d of %d", tt.most, tt.servers), func(t *testing.T) {
			most := tt.most
			servers := nsqxtest.NewServers(t, tt.servers, nsqxtest.WithMaxInFlightCheck(most, 10*time.Millisecond), nsqxtest.WithPatience(15*time.Second))
			for _, s := range servers { // a network, so that a storm of RDYs takes time
				s.On("RDY", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
					return nsqxtest.Proceed().After(time.Millisecond)
				})
			}
			start := time.Now()
			var handled synced[string]
			_, _ = consume(t, servers, func(ctx context.Context, _ string) error {
				time.Sleep(10 * time.Millisecond)
				handled.add(handler.FromContext(ctx).NSQD())
				return nil
			}, nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(most))
			const n = 100
			for _, s := range servers {
				publish(s, n)
			}
			for _, s := range servers {
				s.Await("orders", "billing", finished(n))
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%d messages on each of %d servers took %v", n, tt.servers, took)
			}
			counts := make(map[string]int)
			for i, addr := range handled.all() {
				counts[addr]++
				if counts[addr] == n { // the first one to be done: how far are the others?
					for _, s := range servers {
						if got := counts[s.Addr()]; got < n/2 {
							t.Errorf("%s has had %d when another one had %d, of %d", s.Addr(), got, n, i+1)
						}
					}
					break
				}
			}
			// Who has its turn changes ten times a second, and no more often.
			count := func() (n int) {
				for _, s := range servers {
					n += len(s.Commands("RDY"))
				}
				return n
			}
			time.Sleep(5 * time.Millisecond) // from between two ticks
			before := count()
			time.Sleep(10 * time.Second)
			if n, bound := count()-before, 10*10*2*most; n > bound {
				t.Errorf("%d RDYs in 10 s without a message, want %d at most", n, bound)
			}

			// A single message anywhere is handled soon, too.
			for _, s := range servers {
				published := time.Now()
				publish(s, 1)
				s.Await("orders", "billing", finished(n+1))
				if took := time.Since(published); took > time.Second {
					t.Errorf("a message of %s took %v", s.Addr(), took)
				}
			}
		})
	}
}
