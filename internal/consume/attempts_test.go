package consume

import (
	"context"
	"testing"
	"time"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// nsqd is a source of deliveries.
type nsqd string

func (nsqd) Topic() string                 { return "orders" }
func (nsqd) Channel() string               { return "billing" }
func (n nsqd) NSQD() string                { return string(n) }
func (nsqd) Context() context.Context      { return context.Background() }
func (nsqd) Terms() *handler.Terms         { return new(handler.Terms) }
func (nsqd) Touch(*handler.Delivery) error { return nil }

func (n nsqd) delivery(id int, attempts uint16) *handler.Delivery {
	d := new(handler.Delivery)
	d.Init(&handler.Read{Source: n}, handler.ID{byte(id), byte(id >> 8)}, attempts, 0, nil)
	return d
}

func TestUncounted(t *testing.T) {
	c := new(Consumer)
	want := func(what string, d *handler.Delivery, want int) {
		t.Helper()
		if got := c.attempts(d); got != want {
			t.Errorf("%s: %d attempts, want %d", what, got, want)
		}
	}
	a, b := nsqd("a:4150"), nsqd("b:4150")
	want("nothing known", a.delivery(1, 5), 5)
	want("wrapped", a.delivery(1, 0), 1<<16)
	for range 3 {
		c.uncounted.add(a.delivery(1, 1))
	}
	want("three given back", a.delivery(1, 5), 2)
	want("wrapped, three given back", a.delivery(1, 0), 1<<16-3)
	want("more than deliveries", a.delivery(1, 2), 1)
	want("the same id of another nsqd", b.delivery(1, 5), 5)

	for i := 2; i <= 2*uncountedSize; i++ {
		c.uncounted.add(a.delivery(i, 1))
	}
	want("4095 others later", a.delivery(1, 5), 2)
	want("the last of them", a.delivery(2*uncountedSize, 5), 4)
	c.uncounted.add(a.delivery(1, 1)) // and is among the last again
	for i := range 2 * uncountedSize {
		c.uncounted.add(b.delivery(i, 1))
		if n := len(c.uncounted.young) + len(c.uncounted.old); n > 2*uncountedSize {
			t.Fatalf("%d are remembered", n)
		}
		if i == uncountedSize/2 {
			want("a thousand others later", a.delivery(1, 5), 1)
		}
	}
	want("forgotten", a.delivery(1, 5), 5)
	for range 1 << 16 {
		c.uncounted.add(a.delivery(7, 1))
	}
	want("saturated", a.delivery(7, 0), 1)
}

// delayed returns a delivery of a message that was put off for wait when nsqd accepted it, and is due.
func (n nsqd) delayed(wait time.Duration, attempts uint16) *handler.Delivery {
	var w envelope.Writer
	_ = w.Set(envelope.NotBefore, envelope.FormatTime(time.Now()))
	d := new(handler.Delivery)
	d.Init(&handler.Read{Source: n}, handler.ID{1}, attempts, time.Now().Add(-wait).UnixNano(), w.AppendTo(nil, []byte("x")))
	return d
}

// TestEarlyDeliveries: deliveries before a message is due are no attempts. What this process has seen
// counts if it knows the first that was not early, and otherwise what the delay takes at most.
func TestEarlyDeliveries(t *testing.T) {
	const n = nsqd("a:4150")
	for name, tt := range map[string]struct {
		wait                time.Duration
		early               []uint16 // deliveries that this process has seen early
		runs                []uint16 // deliveries that it has seen later
		attempts, delivered int      // of the last of runs
	}{
		"not delayed":               {0, nil, []uint16{3}, 3, 3},
		"the first":                 {time.Minute, nil, []uint16{1}, 1, 1},
		"the first, and all":        {time.Minute, nil, []uint16{1, 2, 3}, 3, 3},
		"others have seen it":       {time.Minute, nil, []uint16{3}, 2, 2},
		"all seen":                  {3 * time.Hour, []uint16{1, 2}, []uint16{3}, 1, 1},
		"all seen, later":           {3 * time.Hour, []uint16{1, 2}, []uint16{3, 4}, 2, 2},
		"the last seen":             {3 * time.Hour, []uint16{2}, []uint16{3, 5}, 3, 3},
		"some seen":                 {3 * time.Hour, []uint16{1}, []uint16{4}, 1, 1},
		"some seen, later":          {3 * time.Hour, []uint16{1}, []uint16{6}, 3, 3},
		"more than it should be":    {3 * time.Hour, []uint16{1, 2, 3, 4, 9}, []uint16{10, 11}, 2, 2},
		"more, but not all seen":    {3 * time.Hour, []uint16{9}, []uint16{12}, 3, 3},
		"fewer than it may be":      {72 * time.Hour, nil, []uint16{5}, 1, 1},
		"in any order":              {3 * time.Hour, []uint16{2, 1}, []uint16{3}, 1, 1},
		"wrapped":                   {3 * time.Hour, nil, []uint16{0}, 1<<16 - 3, 1<<16 - 3},
		"wrapped while it waits":    {70000 * time.Hour, []uint16{65535, 0, 1, 2}, []uint16{3, 4}, 2, 2},
		"a part of an hour as well": {time.Hour + 1, nil, []uint16{3}, 1, 1},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			c := &Consumer{cfg: Config{MaxRequeueDelay: time.Hour}}
			c.uncounted.add(n.delayed(tt.wait, 1)) // before it was due: counted once
			for _, at := range tt.early {
				c.uncounted.early(n.delayed(tt.wait, at))
			}
			if len(tt.early) == 0 {
				c = &Consumer{cfg: Config{MaxRequeueDelay: time.Hour}}
			}
			var attempts, delivered int
			for _, at := range tt.runs {
				d := n.delayed(tt.wait, at)
				attempts, delivered = c.attempts(d), c.delivered(d)
			}
			check.Want(t, "attempts", attempts, tt.attempts)
			check.Want(t, "delivered", delivered, tt.delivered)
			c.uncounted.add(n.delayed(tt.wait, 1))
			d := n.delayed(tt.wait, tt.runs[len(tt.runs)-1])
			check.Want(t, "attempts, one given back", c.attempts(d), max(tt.attempts-1, 1))
			check.Want(t, "delivered, one given back", c.delivered(d), tt.delivered)
		})
	}
	t.Run("extremes", func(t *testing.T) {
		for _, limit := range []time.Duration{time.Millisecond, 1<<63 - 1} {
			c := &Consumer{cfg: Config{MaxRequeueDelay: limit}}
			check.Want(t, "attempts", c.attempts(n.delayed(50*365*24*time.Hour, 2)), 1)
		}
		c := &Consumer{cfg: Config{MaxRequeueDelay: time.Hour}}
		d := n.delayed(time.Duration(time.Now().UnixNano())+time.Second, 2) // no timestamp
		check.Want(t, "attempts without a timestamp", c.attempts(d), 2)
	})
}
