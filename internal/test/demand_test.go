package test

import (
	"strconv"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestDemandMoves from one nsqd to another: who is idle lends, and has it back when it needs it.
func TestDemandMoves(t *testing.T) {
	for _, n := range []int{2, 3, 8} {
		bubble(t, strconv.Itoa(n), func(t *testing.T) {
			const most = 40
			servers := nsqxtest.NewServers(t, n, nsqxtest.WithMaxInFlightCheck(most, time.Millisecond))
			c, _ := consume(t, servers, sleeper(50*time.Millisecond), nsqx.WithConcurrency(most), nsqx.WithMaxInFlight(most))
			shares := func() (sum int) {
				for _, conn := range c.Stats().Connections {
					sum += conn.Quota
				}
				return sum
			}
			for i := range 4 * n {
				s := servers[i%n]
				publish(s, 1000)
				time.Sleep(300 * time.Millisecond)
				if got, least := billing(s).InFlight, most-2*(n-1); got < least {
					t.Errorf("%d in flight at the only busy one after 300 ms, want %d", got, least)
				}
				for _, other := range servers {
					if other != s && rdy(t, other) < 1 {
						t.Errorf("%s has RDY 0: a message there would wait", other.Addr())
					}
				}
				want(t, "sum of shares", shares() <= most, true)
				s.Await("orders", "billing", finished(1000*(1+i/n)))
			}

			for _, s := range servers { // all are busy: all have the same
				publish(s, 1000)
			}
			time.Sleep(500 * time.Millisecond)
			for _, s := range servers {
				if got := billing(s).InFlight; got < most/n-2 || got > most/n+2 {
					t.Errorf("%d in flight at %s, want %d", got, s.Addr(), most/n)
				}
			}
			for _, s := range servers {
				s.Await("orders", "billing", finished(5000))
			}
		})
	}
}
