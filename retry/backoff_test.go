package retry_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx/retry"
)

// stepBackOff returns the number of its step. It is usable only after Reset, like cenkalti's own.
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

func TestFromBackOffTakesAtMost64Steps(t *testing.T) {
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

// fixedBackOff returns its elements in turn, then repeats the last.
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

func TestFromBackOffDelays(t *testing.T) {
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

// As documented, MaxElapsedTime limits a single delay, not their sum.
func TestFromBackOffMaxElapsedTime(t *testing.T) {
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

func TestFromBackOffDrawsNewJitter(t *testing.T) {
	policy := retry.FromBackOff(func() backoff.BackOff { return backoff.NewExponentialBackOff() })
	first := policy.Delay(10, nil)
	for range 100 {
		if policy.Delay(10, nil) != first {
			return
		}
	}
	t.Errorf("100 draws of a jittered delay are all %v", first)
}

// A struct literal without a Clock panics at its first use. Validate reports it before the first
// message.
func TestFromBackOffValidateReportsPanic(t *testing.T) {
	literal := func() backoff.BackOff { return &backoff.ExponentialBackOff{InitialInterval: second} }
	err := validate(retry.FromBackOff(literal))
	if err == nil || !strings.HasPrefix(err.Error(), "nsqx: retry.FromBackOff: newBackOff's schedule panics, must be ready for use: ") {
		t.Errorf("Validate = %v, want the panic reported", err)
	}
}
