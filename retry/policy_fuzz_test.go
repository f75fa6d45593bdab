package retry_test

import (
	"math"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx/retry"
)

// FuzzPolicies calls policies with arbitrary arguments. None may panic, and each delay is from 0 to
// its maximum, or Stop where Stop is possible.
func FuzzPolicies(f *testing.F) {
	f.Add(int64(time.Second), int64(10*time.Minute), 2.0, 0.5, 1)
	f.Add(int64(1), int64(math.MaxInt64), 1.5, 1.0, 65536)
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), 2.0, 0.5, 2)
	f.Add(int64(math.MaxInt64-1), int64(math.MaxInt64-1), 1.0, 0.0, 65535)
	f.Add(int64(1<<53+1), int64(1<<53+3), 1.0000001, 0.0, 3)
	f.Add(int64(0), int64(0), math.Inf(1), math.NaN(), 0)
	f.Add(int64(-1), int64(math.MinInt64), math.NaN(), math.Inf(-1), math.MinInt)
	f.Add(int64(math.MinInt64), int64(-1), -2.0, -1.0, math.MaxInt)

	f.Fuzz(func(t *testing.T, initial, limit int64, multiplier, factor float64, attempt int) {
		first, last := time.Duration(initial), time.Duration(limit)
		exponential := retry.Exponential(first, last, retry.WithMultiplier(multiplier), retry.WithRandomizationFactor(factor))
		exact := retry.Exponential(first, last, retry.WithMultiplier(multiplier), retry.WithRandomizationFactor(0))
		linear := retry.Linear(first, last)
		for range 3 {
			for name, d := range map[string]time.Duration{
				"Exponential":         exponential.Delay(attempt, nil),
				"Exponential (exact)": exact.Delay(attempt, nil),
				"Linear":              linear.Delay(attempt, nil),
			} {
				if d < 0 || d > max(last, 0) {
					t.Errorf("%s: delay %v, want 0 … %v", name, d, max(last, 0))
				}
			}
		}
		if validate(exponential) == nil {
			least := float64(first) * (1 - factor)
			if d := float64(exponential.Delay(attempt, nil)); d < math.Round(least) {
				t.Errorf("Exponential: delay %v, below %v, the least after attempt 1", d, least)
			}
			if d := exact.Delay(1, nil); math.Abs(float64(d)-float64(first)) > float64(first)*1e-15 {
				t.Errorf("Exponential without jitter: first delay %v, want %v", d, first)
			}
		}
		if d := retry.Schedule(first, last).Delay(attempt, nil); d != max(first, retry.Stop) && d != max(last, retry.Stop) {
			t.Errorf("Schedule: delay %v, want %v or %v, no less than Stop", d, first, last)
		}
		replay := retry.FromBackOff(func() backoff.BackOff {
			return backoff.NewExponentialBackOff(
				backoff.WithInitialInterval(first),
				backoff.WithMaxInterval(last),
				backoff.WithMultiplier(multiplier),
				backoff.WithRandomizationFactor(factor),
			)
		})
		if d := replay.Delay(attempt, nil); d < retry.Stop {
			t.Errorf("FromBackOff: delay %v, want at least 0, or Stop", d)
		}
	})
}
