package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestTurnsFairness: an nsqd that was busy alone for minutes, and one that gets a backlog then, are
// served alike.
func TestTurnsFairness(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 3, nsqxtest.WithPatience(time.Hour))
		_, _ = consume(t, servers, sleeps(20*time.Millisecond, nil), nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(1))
		publish(servers[0], 12_000)
		time.Sleep(3 * time.Minute)
		publish(servers[1], 12_000)
		a, b := billing(servers[0]).Finished, billing(servers[1]).Finished
		time.Sleep(time.Minute)
		if a, b = billing(servers[0]).Finished-a, billing(servers[1]).Finished-b; a < 1300 || b < 1300 {
			t.Errorf("%d and %d messages in a minute, want about 1450 each", a, b)
		}
	})
}

// TestRDYRate: more nsqds than messages in flight cost a bounded number of RDYs, however few or many
// slots are free.
func TestRDYRate(t *testing.T) {
	for _, tt := range []struct {
		nsqds, concurrency, load int // load: messages a second, of 50 ms each
		opt                      nsqx.ConsumerOption
		rdys                     int // a second, at most
	}{
		{20, 4, 60, nil, 70},
		{20, 4, 79, nil, 70},
		{20, 4, 400, nil, 40},
		{100, 16, 300, nil, 240},
		{100, 64, 30, nsqx.WithMaxInFlight(90), 2200}, // a thousand turns
	} {
		bubble(t, fmt.Sprintf("%d nsqds, %d handlers, %d a second", tt.nsqds, tt.concurrency, tt.load), func(t *testing.T) {
			const seconds = 10
			servers := nsqxtest.NewServers(t, tt.nsqds, nsqxtest.WithPatience(time.Hour))
			c, _ := consume(t, servers, sleeps(50*time.Millisecond, nil), nsqx.WithConcurrency(tt.concurrency), tt.opt)
			for range seconds * tt.load {
				publish(servers[rand.IntN(tt.nsqds)], 1)
				time.Sleep(time.Second / time.Duration(tt.load))
			}
			done, rdys := 0, 0
			for _, s := range servers {
				done += billing(s).Finished
				rdys += len(s.Commands("RDY"))
			}
			if rdys > seconds*tt.rdys {
				t.Errorf("%d RDYs a second, want at most %d", rdys/seconds, tt.rdys)
			}
			if most := min(tt.load, tt.concurrency*20) * seconds; done < most*95/100-tt.concurrency {
				t.Errorf("%d messages handled, want %d", done, most)
			}
			want(t, "given back", c.Stats().GivenBack, 0)
		})
	}
}

// TestIdleTurns: more nsqds than a fixed MaxInFlight take turns also while nothing happens, each within half a second. That
// costs a bounded number of RDYs, and the first message does not wait for longer.
func TestIdleTurns(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 5, nsqxtest.WithMaxInFlightCheck(2, 10*time.Millisecond))
		_, _ = consume(t, servers, sleeps(time.Millisecond, nil), nsqx.WithConcurrency(4), nsqx.WithMaxInFlight(2))
		rdys := func() (n int) {
			for _, s := range servers {
				n += len(s.Commands("RDY"))
			}
			return n
		}
		time.Sleep(time.Minute)
		before := rdys()
		time.Sleep(time.Hour)
		if n := rdys() - before; n > 3600*21 {
			t.Errorf("%d RDYs in an idle hour, want at most 21 a second", n)
		}
		for i := range 20 {
			s := servers[i%5]
			before := billing(s).Finished
			began := time.Now()
			publish(s, 1)
			s.Await("orders", "billing", finished(before+1))
			if took := time.Since(began); took > 520*time.Millisecond {
				t.Errorf("message %d took %v, want half a second at most", i, took)
			}
			time.Sleep(7 * time.Second)
		}
	})
}

// TestBatchesBesideSilent: slow handlers of batches leave no messages ahead. Silent nsqds keep one place of a batch, and
// the batch does not wait for it.
func TestBatchesBesideSilent(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		const messages = 420
		servers := nsqxtest.NewServers(t, 4, nsqxtest.WithPatience(time.Hour))
		b := &batches{handle: func(context.Context, *handler.Batch[string]) error {
			time.Sleep(4 * time.Second)
			return nil
		}}
		c := b.consumer(t, nsqxtest.Option(servers...), nsqx.WithConcurrency(3), nsqx.WithBatch(7, 900*time.Millisecond))
		nsqxtest.Run(t, c)
		began := time.Now()
		sendNumbers(servers[0], 0, messages)
		servers[0].Await("orders", "billing", finished(messages))
		took, ideal := time.Since(began), messages/6/3*4*time.Second
		if took > ideal+10*time.Second {
			t.Errorf("%d messages took %v, want %v; batches of %s", messages, took, ideal, b.sizes())
		}
		for _, s := range servers[1:] {
			time.Sleep(10 * time.Second)
			publish(s, 1)
			s.Await("orders", "billing", finished(1))
		}
		want(t, "given back", c.Stats().GivenBack, 0)
	})
}
