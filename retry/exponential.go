package retry

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

const (
	defaultMultiplier          = 2
	defaultRandomizationFactor = 0.5
)

type exponential struct {
	initial    time.Duration
	max        time.Duration
	multiplier float64
	factor     float64
}

// ExponentialOption is an option of [Exponential]. A nil one is ignored.
type ExponentialOption func(*exponential)

// WithMultiplier sets what the delay is multiplied by from one attempt to the
// next: a finite number, at least 1. Defaults to 2 (cenkalti's to 1.5).
func WithMultiplier(m float64) ExponentialOption {
	return func(e *exponential) { e.multiplier = m }
}

// WithRandomizationFactor sets how far a delay is spread to either side, as a
// part of itself: 0.5 makes 10 s anything from 5 s to 15 s. It is a number from
// 0, no jitter, to 1, anything from 0 to the double. Defaults to 0.5.
//
// Messages that failed together, in an outage say, would without it return
// together.
func WithRandomizationFactor(f float64) ExponentialOption {
	return func(e *exponential) { e.factor = f }
}

// Exponential is the policy that waits initial after the first attempt and
// multiplies the wait from each attempt to the next: the delay after the nth is
// initial × multiplier^(n-1), at most max, spread at random by the randomization
// factor. No delay is longer than max, jitter included: once the wait has grown
// to max, delays spread from max × (1 - factor) to max.
//
// It never gives a message up. Initial must be above 0 and max at least initial.
func Exponential(initial, max time.Duration, opts ...ExponentialOption) Policy {
	e := &exponential{
		initial:    initial,
		max:        max,
		multiplier: defaultMultiplier,
		factor:     defaultRandomizationFactor,
	}
	for _, opt := range opts {
		if opt != nil {
			opt(e)
		}
	}
	return e
}

// Delay is closed in form: attempt 65536 costs no more than the first.
func (e *exponential) Delay(attempt int, _ error) time.Duration {
	limit := float64(e.max)
	wait := min(float64(e.initial)*math.Pow(e.multiplier, float64(counted(attempt)-1)), limit)
	// The range is cut before the draw, not the draw itself: that would make
	// half of all delays exactly max, and those messages return together.
	low, high := wait*(1-e.factor), min(wait*(1+e.factor), limit)
	return within(low+rand.Float64()*(high-low), e.max)
}

// Validate reports every argument out of its range.
func (e *exponential) Validate() error {
	var faults []error
	if e.initial <= 0 {
		faults = append(faults, fmt.Errorf("nsqx: retry.Exponential: initial is %v, must be above 0", e.initial))
	}
	if e.max < e.initial || e.max <= 0 {
		faults = append(faults, fmt.Errorf("nsqx: retry.Exponential: max is %v, must be above 0 and at least initial (%v)", e.max, e.initial))
	}
	if !(e.multiplier >= 1) || math.IsInf(e.multiplier, 1) {
		faults = append(faults, fmt.Errorf("nsqx: retry.WithMultiplier: m is %v, must be a finite number, at least 1", e.multiplier))
	}
	if !(e.factor >= 0 && e.factor <= 1) {
		faults = append(faults, fmt.Errorf("nsqx: retry.WithRandomizationFactor: f is %v, must be from 0 to 1", e.factor))
	}
	return errors.Join(faults...)
}
