package lookup_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/lookup"
)

func TestInterval(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 48 * time.Second, 0.25: 54 * time.Second, 0.5: time.Minute, 0.75: 66 * time.Second} {
		got := lookup.Interval(time.Minute, func() float64 { return random })
		if d := got - want; d < -time.Microsecond || d > time.Microsecond {
			t.Errorf("random %v: %v, want %v", random, got, want)
		}
	}
	if got := lookup.Interval(time.Minute, func() float64 { return math.Nextafter(1, 0) }); got <= 71*time.Second || got > 72*time.Second {
		t.Errorf("at most %v, want 72s", got)
	}
	random := rand.New(rand.NewPCG(1, 2))
	least, most := time.Hour, time.Duration(0)
	for range 10_000 {
		d := lookup.Interval(time.Minute, random.Float64)
		least, most = min(least, d), max(most, d)
	}
	if least < 48*time.Second || least > 49*time.Second || most > 72*time.Second || most < 71*time.Second {
		t.Errorf("%v to %v, want 48s to 72s", least, most)
	}
}
