// Tests of policy.go, linear.go and schedule.go, and of the Policy contract over all policies.

package retry_test

import (
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx/retry"
)

func TestDelays(t *testing.T) {
	const forever time.Duration = math.MaxInt64
	exact := retry.WithRandomizationFactor(0)
	constant := func() backoff.BackOff { return backoff.NewConstantBackOff(5 * second) }

	tests := []struct {
		name   string
		policy retry.Policy
		want   [len(attempts)]time.Duration
	}{
		{"exponential", retry.Exponential(second, 10*minute, exact),
			[...]time.Duration{second, 2 * second, 4 * second, 512 * second, 10 * minute, 10 * minute, 10 * minute}},
		{"exponential, multiplier 1.5", retry.Exponential(second, time.Hour, exact, retry.WithMultiplier(1.5)),
			[...]time.Duration{second, 1500 * time.Millisecond, 2250 * time.Millisecond, 38443359375, time.Hour, time.Hour, time.Hour}},
		{"exponential, multiplier 1", retry.Exponential(second, minute, exact, retry.WithMultiplier(1)),
			[...]time.Duration{second, second, second, second, second, second, second}},
		{"exponential, constant", retry.Exponential(minute, minute, exact),
			[...]time.Duration{minute, minute, minute, minute, minute, minute, minute}},
		{"exponential, no max", retry.Exponential(1, forever, exact),
			[...]time.Duration{1, 2, 4, 512, forever, forever, forever}},
		{"exponential, steep", retry.Exponential(second, forever, exact, retry.WithMultiplier(math.MaxFloat64)),
			[...]time.Duration{second, forever, forever, forever, forever, forever, forever}},
		{"exponential, nil option", retry.Exponential(second, minute, nil, exact, nil),
			[...]time.Duration{second, 2 * second, 4 * second, minute, minute, minute, minute}},
		{"linear", retry.Linear(second, minute),
			[...]time.Duration{second, 2 * second, 3 * second, 10 * second, minute, minute, minute}},
		{"linear, no max", retry.Linear(1<<62, forever),
			[...]time.Duration{1 << 62, forever, forever, forever, forever, forever, forever}},
		{"linear, long", retry.Linear(second, 24*time.Hour),
			[...]time.Duration{second, 2 * second, 3 * second, 10 * second, 64 * second, 65535 * second, 65536 * second}},
		{"linear, zero", retry.Linear(0, minute), [...]time.Duration{0, 0, 0, 0, 0, 0, 0}},
		{"schedule", retry.Schedule(0, second, minute),
			[...]time.Duration{0, second, minute, minute, minute, minute, minute}},
		{"schedule that stops", retry.Schedule(second, minute, stop),
			[...]time.Duration{second, minute, stop, stop, stop, stop, stop}},
		{"schedule of nothing but stop", retry.Schedule(stop),
			[...]time.Duration{stop, stop, stop, stop, stop, stop, stop}},
		{"func", retry.PolicyFunc(func(n int, _ error) time.Duration { return time.Duration(n) }),
			[...]time.Duration{1, 2, 3, 10, 64, 65535, 65536}},
		{"backoff", retry.FromBackOff(constant),
			[...]time.Duration{5 * second, 5 * second, 5 * second, 5 * second, 5 * second, 5 * second, 5 * second}},
		{"backoff, 2 retries", retry.FromBackOff(func() backoff.BackOff { return backoff.WithMaxRetries(constant(), 2) }),
			[...]time.Duration{5 * second, 5 * second, stop, stop, stop, stop, stop}},
		{"backoff, 63 retries", retry.FromBackOff(func() backoff.BackOff { return backoff.WithMaxRetries(constant(), 63) }),
			[...]time.Duration{5 * second, 5 * second, 5 * second, 5 * second, stop, stop, stop}},
		{"backoff, stop", retry.FromBackOff(func() backoff.BackOff { return new(backoff.StopBackOff) }),
			[...]time.Duration{stop, stop, stop, stop, stop, stop, stop}},
		{"backoff, steps", retry.FromBackOff(func() backoff.BackOff { return new(stepBackOff) }),
			[...]time.Duration{1, 2, 3, 10, 64, 64, 64}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := validate(tt.policy); err != nil {
				t.Errorf("Validate: %v", err)
			}
			for i, attempt := range attempts {
				if got := tt.policy.Delay(attempt, errBoom); got != tt.want[i] {
					t.Errorf("Delay(%d) = %v, want %v", attempt, got, tt.want[i])
				}
			}
		})
	}
}

// A counter that has wrapped to 0 does not restart the delays.
func TestWrappedAttemptIsNotTheFirst(t *testing.T) {
	policies := map[string]retry.Policy{
		"Exponential": retry.Exponential(second, minute, retry.WithRandomizationFactor(0)),
		"Linear":      retry.Linear(second, minute),
		"Schedule":    retry.Schedule(second, minute),
		"FromBackOff": retry.FromBackOff(func() backoff.BackOff { return new(stepBackOff) }),
	}
	for name, policy := range policies {
		for _, attempt := range []int{0, -1, math.MinInt} {
			if got, want := policy.Delay(attempt, nil), policy.Delay(65536, nil); got != want {
				t.Errorf("%s.Delay(%d) = %v, want that of 65536, %v", name, attempt, got, want)
			}
		}
	}
}

func TestPolicyFuncReceivesError(t *testing.T) {
	policy := retry.PolicyFunc(func(_ int, err error) time.Duration {
		if errors.Is(err, errBoom) {
			return retry.Stop
		}
		return second
	})
	if got := policy.Delay(1, retry.After(0, errBoom)); got != retry.Stop {
		t.Errorf("Delay(1, boom) = %v, want Stop", got)
	}
	if got := policy.Delay(1, nil); got != second {
		t.Errorf("Delay(1, nil) = %v, want 1s", got)
	}
}

func TestScheduleCopiesItsArgument(t *testing.T) {
	delays := []time.Duration{second, minute}
	policy := retry.Schedule(delays...)
	delays[0] = time.Hour
	if got := policy.Delay(1, nil); got != second {
		t.Errorf("Delay(1) = %v after the caller changed its slice, want 1s", got)
	}
}

func TestBadPolicies(t *testing.T) {
	nan := math.NaN()
	multiplier, factor := retry.WithMultiplier, retry.WithRandomizationFactor
	tests := []struct {
		name   string
		policy retry.Policy
		want   string // lines of the error
	}{
		{"initial 0", retry.Exponential(0, minute), "nsqx: retry.Exponential: initial is 0s, must be above 0"},
		{"initial negative", retry.Exponential(-second, minute), "nsqx: retry.Exponential: initial is -1s, must be above 0"},
		{"max below initial", retry.Exponential(minute, second), "nsqx: retry.Exponential: max is 1s, must be above 0 and at least initial (1m0s)"},
		{"all zero", retry.Exponential(0, 0), "nsqx: retry.Exponential: initial is 0s, must be above 0\n" +
			"nsqx: retry.Exponential: max is 0s, must be above 0 and at least initial (0s)"},
		{"max negative", retry.Exponential(second, math.MinInt64), "nsqx: retry.Exponential: max is -2562047h47m16.854775808s, must be above 0 and at least initial (1s)"},
		{"multiplier below 1", retry.Exponential(second, minute, multiplier(0.99)), "nsqx: retry.WithMultiplier: m is 0.99, must be a finite number, at least 1"},
		{"multiplier negative", retry.Exponential(second, minute, multiplier(-2)), "nsqx: retry.WithMultiplier: m is -2, must be a finite number, at least 1"},
		{"multiplier NaN", retry.Exponential(second, minute, multiplier(nan)), "nsqx: retry.WithMultiplier: m is NaN, must be a finite number, at least 1"},
		{"multiplier infinite", retry.Exponential(second, minute, multiplier(math.Inf(1))), "nsqx: retry.WithMultiplier: m is +Inf, must be a finite number, at least 1"},
		{"factor negative", retry.Exponential(second, minute, factor(-0.1)), "nsqx: retry.WithRandomizationFactor: f is -0.1, must be from 0 to 1"},
		{"factor above 1", retry.Exponential(second, minute, factor(1.1)), "nsqx: retry.WithRandomizationFactor: f is 1.1, must be from 0 to 1"},
		{"factor NaN", retry.Exponential(second, minute, factor(nan)), "nsqx: retry.WithRandomizationFactor: f is NaN, must be from 0 to 1"},
		{"two faults", retry.Exponential(second, minute, multiplier(0), factor(2)), "nsqx: retry.WithMultiplier: m is 0, must be a finite number, at least 1\n" +
			"nsqx: retry.WithRandomizationFactor: f is 2, must be from 0 to 1"},
		{"step negative", retry.Linear(-second, minute), "nsqx: retry.Linear: step is -1s, must be at least 0"},
		{"linear max below step", retry.Linear(minute, second), "nsqx: retry.Linear: max is 1s, must be at least 0 and at least step (1m0s)"},
		{"linear both negative", retry.Linear(-second, -second), "nsqx: retry.Linear: step is -1s, must be at least 0\n" +
			"nsqx: retry.Linear: max is -1s, must be at least 0 and at least step (-1s)"},
		{"empty schedule", retry.Schedule(), "nsqx: retry.Schedule: has no entries, must have at least one delay"},
		{"stop inside", retry.Schedule(second, stop, second), "nsqx: retry.Schedule: entry 2 of 3 is Stop, must be the last"},
		{"negative entry", retry.Schedule(second, -minute), "nsqx: retry.Schedule: entry 2 of 2 is -1m0s, must be at least 0, or Stop at the end"},
		{"nil func", retry.PolicyFunc(nil), "nsqx: retry.PolicyFunc: is nil, must be a function"},
		{"nil newBackOff", retry.FromBackOff(nil), "nsqx: retry.FromBackOff: newBackOff is nil, must be a function"},
		{"nil schedule", retry.FromBackOff(func() backoff.BackOff { return nil }), "nsqx: retry.FromBackOff: newBackOff returns nil, must return a schedule"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := validate(tt.policy)
			if err == nil {
				t.Fatal("Validate reports nothing")
			}
			if got := err.Error(); got != tt.want {
				t.Errorf("Validate:\n%s\nwant:\n%s", got, tt.want)
			}
			for _, attempt := range append(attempts[:], 0, -1, math.MaxInt, math.MinInt) {
				if got := tt.policy.Delay(attempt, nil); got < retry.Stop {
					t.Errorf("Delay(%d) = %v, want at least 0, or Stop", attempt, got)
				}
			}
		})
	}
}

func TestPoliciesDoNotAllocate(t *testing.T) {
	policies := map[string]retry.Policy{
		"Exponential": retry.Exponential(time.Second, time.Minute),
		"Linear":      retry.Linear(time.Second, time.Minute),
		"Schedule":    retry.Schedule(time.Second, time.Minute),
	}
	for name, policy := range policies {
		attempt := 0
		if n := testing.AllocsPerRun(1000, func() {
			attempt++
			policy.Delay(attempt, errBoom)
		}); n != 0 {
			t.Errorf("%s.Delay: %v allocations, want 0", name, n)
		}
	}
}

// This test is for the race detector.
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
