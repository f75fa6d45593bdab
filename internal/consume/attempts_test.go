package consume

import (
	"context"
	"testing"

	"github.com/nsqx/nsqx/handler"
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
