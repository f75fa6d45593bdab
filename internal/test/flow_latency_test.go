package test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestQuietTopic: single messages reach the handler at once, although nsqd buffers messages for 250
// ms if RDY allows more of them.
func TestQuietTopic(t *testing.T) {
	for name, tt := range map[string]struct {
		opts     []nsqx.ConsumerOption
		handler  time.Duration
		min, max time.Duration // longest wait
	}{
		"defaults":                  {max: time.Millisecond},
		"immediate":                 {opts: opts(nsqx.WithDelivery(nsqx.Immediate)), max: time.Millisecond},
		"batched":                   {opts: opts(nsqx.WithDelivery(nsqx.Batched)), min: 230 * time.Millisecond, max: 250 * time.Millisecond},
		"batched, slow":             {opts: opts(nsqx.WithDelivery(nsqx.Batched)), handler: 100 * time.Millisecond, min: 230 * time.Millisecond, max: 250 * time.Millisecond},
		"slow handlers":             {opts: opts(nsqx.WithConcurrency(8)), handler: 100 * time.Millisecond, max: time.Millisecond},
		"large MaxInFlight":         {opts: opts(nsqx.WithMaxInFlight(2500)), max: time.Millisecond},
		"large and slow":            {opts: opts(nsqx.WithMaxInFlight(2500), nsqx.WithConcurrency(8)), handler: 100 * time.Millisecond, max: time.Millisecond},
		"fixed RDY":                 {opts: opts(nsqx.WithMaxInFlight(2500), nsqx.WithFixedRDY()), min: 230 * time.Millisecond, max: 250 * time.Millisecond},
		"fixed RDY, slow, as large": {opts: opts(nsqx.WithMaxInFlight(2500), nsqx.WithFixedRDY(), nsqx.WithConcurrency(8)), handler: 100 * time.Millisecond, min: 230 * time.Millisecond, max: 250 * time.Millisecond},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithMaxInFlightCheck(2500, time.Millisecond))
			var w waitTimes
			_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
				if body == "single" {
					w.record(ctx)
				}
				time.Sleep(tt.handler)
				return nil
			}, tt.opts...)
			for range 100 {
				s.Publish("orders", []byte("single"))
				time.Sleep(20 * time.Millisecond)
			}
			s.Await("orders", "billing", finished(100))
			if most := w.longest(); most < tt.min || most > tt.max {
				t.Errorf("a message has waited %v, want between %v and %v", most, tt.min, tt.max)
			}
		})
	}
}

// TestDelivery: RDY is high on a topic without a backlog if deliveries are batched, but no higher than
// handlers can start soon, unlike a fixed RDY.
func TestDelivery(t *testing.T) {
	batched, fixed := nsqx.WithDelivery(nsqx.Batched), nsqx.WithFixedRDY()
	for name, tt := range map[string]struct {
		opts    []nsqx.ConsumerOption
		handler time.Duration
		rdy     int
	}{
		"immediate":                 {opts(nsqx.WithDelivery(nsqx.Immediate)), time.Millisecond, 1},
		"batched":                   {opts(batched), time.Millisecond, 404}, // one a handler, and what they finish in 100 ms
		"batched, large":            {opts(batched, nsqx.WithMaxInFlight(1000)), time.Millisecond, 1000},
		"batched, large, but slow":  {opts(batched, nsqx.WithMaxInFlight(1000)), 2 * time.Second, 4},
		"fixed RDY, large and slow": {opts(fixed, nsqx.WithMaxInFlight(1000)), 2 * time.Second, 1000},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			_, _ = consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
				time.Sleep(tt.handler)
				return nil
			}, append(tt.opts, nsqx.WithConcurrency(4))...)
			for range 200 {
				publish(s, 1)
				time.Sleep(time.Second)
			}
			want(t, "RDY", rdy(t, s), tt.rdy)
		})
	}
}

// TestIrregularLoad: bursts open the window now and then; a nudge of RDY makes nsqd flush what it
// then buffers.
func TestIrregularLoad(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		random := rand.New(rand.NewPCG(1, 2))
		var w waitTimes
		_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, _ string) error {
			w.record(ctx)
			return nil
		}, nsqx.WithConcurrency(8))
		for range 1000 {
			publish(s, 1+random.IntN(20))
			time.Sleep(time.Duration(random.IntN(5000)) * time.Microsecond)
		}
		time.Sleep(time.Second)
		want(t, "in flight", billing(s).InFlight+billing(s).Depth, 0)
		if most := w.longest(); most > 1200*time.Microsecond {
			t.Errorf("a message has waited %v, want a nudge after 1 ms", most)
		}
	})
}

// TestQuietAfterBacklog: whatever the window was at the end of a backlog, a later single message
// does not wait in nsqd's buffer.
func TestQuietAfterBacklog(t *testing.T) {
	for name, opt := range map[string]nsqx.ConsumerOption{"defaults": nil, "max in flight": nsqx.WithMaxInFlight(100)} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			var w waitTimes
			_, _ = consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
				if body == "single" {
					w.record(ctx)
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
			if most := w.longest(); most > time.Millisecond {
				t.Errorf("a message has waited %v, want 1ms at most", most)
			}
		})
	}
}

// TestQuietForLongTime: the time without messages does not count as a round trip, which would open
// the window or delay nudges.
func TestQuietForLongTime(t *testing.T) {
	for _, gap := range []time.Duration{20 * time.Millisecond, 300 * time.Millisecond, time.Second, 7 * time.Second} {
		bubble(t, gap.String(), func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			var w waitTimes
			c, _ := consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, _ string) error {
				w.record(ctx)
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
			if most := w.longest(); most > time.Millisecond {
				t.Errorf("a message has waited %v, want 1ms at most", most)
			}
		})
	}
}
