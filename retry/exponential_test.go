package retry_test

import (
	"math"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx/retry"
)

func TestJitterFillsItsRange(t *testing.T) {
	const (
		initial = 100 * time.Millisecond
		limit   = 10 * time.Second
		draws   = 2000
	)
	for _, factor := range []float64{0, 0.1, 0.5, 1} {
		policy := retry.Exponential(initial, limit, retry.WithRandomizationFactor(factor))
		for _, attempt := range attempts {
			wait := min(float64(initial)*math.Pow(2, float64(attempt-1)), float64(limit))
			low := time.Duration(math.Round(wait * (1 - factor)))
			high := min(time.Duration(math.Round(wait*(1+factor))), limit)
			least, most, atLimit := limit, time.Duration(0), 0
			for range draws {
				d := policy.Delay(attempt, nil)
				if d < low || d > high {
					t.Fatalf("factor %v, attempt %d: %v, want %v … %v", factor, attempt, d, low, high)
				}
				least, most = min(least, d), max(most, d)
				if d == limit {
					atLimit++
				}
			}
			// Of 2000 draws some come within a tenth of either end, except in 1 of 10⁹¹ runs.
			if margin := (high - low) / 10; least > low+margin || most < high-margin {
				t.Errorf("factor %v, attempt %d: draws from %v to %v, want them spread over %v … %v", factor, attempt, least, most, low, high)
			}
			if factor > 0 && atLimit > draws/10 {
				t.Errorf("factor %v, attempt %d: %d of %d delays are exactly the maximum", factor, attempt, atLimit, draws)
			}
		}
	}
}

func TestMeansGrow(t *testing.T) {
	const draws = 2000
	policy := retry.Exponential(time.Second, 10*time.Minute)
	mean := func(attempt int) float64 {
		var sum float64
		for range draws {
			sum += policy.Delay(attempt, nil).Seconds()
		}
		return sum / draws
	}
	// Until the range reaches the maximum, at attempt 10, the mean is 2^(n-1) s. The mean of 2000
	// draws is off by 5 % in 1 of 10¹³ runs.
	last := 0.0
	for attempt := 1; attempt <= 9; attempt++ {
		got, want := mean(attempt), math.Pow(2, float64(attempt-1))
		if got < 0.95*want || got > 1.05*want {
			t.Errorf("mean of attempt %d: %.2f s, want about %.2f s", attempt, got, want)
		}
		if got <= last {
			t.Errorf("mean of attempt %d: %.2f s, not above %.2f s of the one before", attempt, got, last)
		}
		last = got
	}
	for attempt := 10; attempt <= 20; attempt++ {
		got := mean(attempt)
		if got < 0.95*last {
			t.Errorf("mean of attempt %d: %.2f s, below %.2f s of the one before", attempt, got, last)
		}
		last = got
	}
	// Delays are now 5 to 10 minutes.
	if last < 0.95*450 || last > 1.05*450 {
		t.Errorf("mean of attempt 20: %.2f s, want about 450 s", last)
	}
}

func TestDefaults(t *testing.T) {
	policy := retry.Exponential(time.Second, time.Hour)
	explicit := retry.Exponential(time.Second, time.Hour, retry.WithMultiplier(2), retry.WithRandomizationFactor(0.5))
	for _, attempt := range []int{1, 2, 8} {
		wait := time.Second << (attempt - 1)
		for range 1000 {
			for _, d := range []time.Duration{policy.Delay(attempt, nil), explicit.Delay(attempt, nil)} {
				if d < wait/2 || d > wait*3/2 {
					t.Fatalf("attempt %d: %v, want %v … %v", attempt, d, wait/2, wait*3/2)
				}
			}
		}
	}
}

// cenkalti rounds down to whole nanoseconds at each step. With a fractional multiplier the
// sequences differ, but by less than a microsecond in a minute.
func TestSameSequenceAsCenkalti(t *testing.T) {
	tests := []struct {
		name         string
		initial, max time.Duration
		multiplier   float64
		tolerance    time.Duration
	}{
		{"cenkalti's defaults", backoff.DefaultInitialInterval, backoff.DefaultMaxInterval, backoff.DefaultMultiplier, time.Microsecond},
		{"multiplier 2", time.Second, 10 * time.Minute, 2, 0},
		{"multiplier 3, odd numbers", 7 * time.Millisecond, 1237 * time.Second, 3, 0},
		{"multiplier 10", time.Nanosecond, time.Hour, 10, 0},
		{"multiplier 1", time.Second, time.Minute, 1, 0},
		{"constant", time.Minute, time.Minute, 2, 0},
		{"max met exactly", time.Second, 8 * time.Second, 2, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			theirs := backoff.NewExponentialBackOff(
				backoff.WithInitialInterval(tt.initial),
				backoff.WithMaxInterval(tt.max),
				backoff.WithMultiplier(tt.multiplier),
				backoff.WithRandomizationFactor(0),
				backoff.WithMaxElapsedTime(0),
			)
			ours := retry.Exponential(tt.initial, tt.max, retry.WithMultiplier(tt.multiplier), retry.WithRandomizationFactor(0))
			for attempt := 1; attempt <= 100; attempt++ {
				got, want := ours.Delay(attempt, nil), theirs.NextBackOff()
				if (got - want).Abs() > tt.tolerance {
					t.Errorf("attempt %d: %v, cenkalti's %v", attempt, got, want)
				}
			}
		})
	}
}
