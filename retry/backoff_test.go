package retry_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx/retry"
)

// stepBackOff answers with the number of its step. It is usable only after
// Reset, as cenkalti's own are.
type stepBackOff struct {
	ready bool
	steps int
}

func (b *stepBackOff) Reset() { b.ready, b.steps = true, 0 }

func (b *stepBackOff) NextBackOff() time.Duration {
	if !b.ready {
		return backoff.Stop
	}
	b.steps++
	return time.Duration(b.steps)
}

func TestReplayIsBounded(t *testing.T) {
	var last *stepBackOff
	policy := retry.FromBackOff(func() backoff.BackOff {
		last = new(stepBackOff)
		return last
	})
	for _, attempt := range []int{1, 63, 64, 65, 65536, 0, math.MaxInt} {
		policy.Delay(attempt, nil)
		want := 64
		if attempt == 1 || attempt == 63 {
			want = attempt
		}
		if last.steps != want {
			t.Errorf("Delay(%d) took %d steps, want %d", attempt, last.steps, want)
		}
	}
}

// fixedBackOff answers with its elements in turn, then with its last.
type fixedBackOff struct {
	delays []time.Duration
	next   int
}

func (b *fixedBackOff) Reset() { b.next = 0 }

func (b *fixedBackOff) NextBackOff() time.Duration {
	d := b.delays[min(b.next, len(b.delays)-1)]
	b.next++
	return d
}

func TestReplayAnswers(t *testing.T) {
	tests := []struct {
		name    string
		delays  []time.Duration
		attempt int
		want    time.Duration
	}{
		{"before the stop", []time.Duration{1, 2, backoff.Stop, 4}, 2, 2},
		{"at the stop", []time.Duration{1, 2, backoff.Stop, 4}, 3, retry.Stop},
		{"past the stop", []time.Duration{1, 2, backoff.Stop, 4}, 4, retry.Stop},
		{"negative is not stop", []time.Duration{1, -2}, 2, 0},
		{"overflow is not stop", []time.Duration{1, math.MinInt64}, 9, 0},
		{"overflow on the way", []time.Duration{1, math.MinInt64, 3}, 3, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			policy := retry.FromBackOff(func() backoff.BackOff { return &fixedBackOff{delays: tt.delays} })
			if got := policy.Delay(tt.attempt, nil); got != tt.want {
				t.Errorf("Delay(%d) = %v, want %v", tt.attempt, got, tt.want)
			}
		})
	}
}

// What the documentation of FromBackOff says about MaxElapsedTime: 15 minutes do
// not bound the sum of delays, only a single one.
func TestReplayOfMaxElapsedTime(t *testing.T) {
	exact := backoff.WithRandomizationFactor(0)
	hour := backoff.WithMaxInterval(time.Hour)
	tests := []struct {
		name string
		opts []backoff.ExponentialBackOffOpts
		want time.Duration
	}{
		{"delays of a minute", []backoff.ExponentialBackOffOpts{exact}, time.Minute},
		{"delays of an hour", []backoff.ExponentialBackOffOpts{exact, hour}, retry.Stop},
		{"delays of an hour, no bound", []backoff.ExponentialBackOffOpts{exact, hour, backoff.WithMaxElapsedTime(0)}, time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			policy := retry.FromBackOff(func() backoff.BackOff { return backoff.NewExponentialBackOff(tt.opts...) })
			if got := policy.Delay(65536, nil); got != tt.want {
				t.Errorf("Delay(65536) = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestReplayJitterIsDrawnAnew(t *testing.T) {
	policy := retry.FromBackOff(func() backoff.BackOff { return backoff.NewExponentialBackOff() })
	first := policy.Delay(10, nil)
	for range 100 {
		if policy.Delay(10, nil) != first {
			return
		}
	}
	t.Errorf("100 draws of a jittered delay are all %v", first)
}

// Meaningful under the race detector.
func TestPoliciesAreSafeForConcurrentUse(t *testing.T) {
	policies := []retry.Policy{
		retry.Exponential(time.Second, time.Minute),
		retry.Linear(time.Second, time.Minute),
		retry.Schedule(time.Second, time.Minute),
		retry.FromBackOff(func() backoff.BackOff {
			return backoff.NewExponentialBackOff(backoff.WithMaxInterval(time.Minute))
		}),
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for attempt := 1; attempt <= 100; attempt++ {
				for _, policy := range policies {
					// cenkalti's jitter goes half above its maximum.
					if d := policy.Delay(attempt, errBoom); d < 0 || d > 90*time.Second+1 {
						t.Errorf("%T.Delay(%d) = %v", policy, attempt, d)
					}
				}
			}
		})
	}
	wg.Wait()
}
