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

// WithMultiplier sets the factor by which the delay grows from one attempt to the next: a finite
// number, at least 1. Defaults to 2 (in cenkalti/backoff, 1.5).
func WithMultiplier(m float64) ExponentialOption {
	return func(e *exponential) { e.multiplier = m }
}

// WithRandomizationFactor sets the jitter of a delay as a fraction of the delay, from 0 to 1: 0 is
// no jitter, 0.5 makes 10 s anything from 5 s to 15 s, 1 anything from 0 to 20 s. Defaults to 0.5.
//
// Without jitter, messages that fail together return together.
func WithRandomizationFactor(f float64) ExponentialOption {
	return func(e *exponential) { e.factor = f }
}

// Exponential returns a policy whose delays grow exponentially: initial × multiplier^(n-1) after
// attempt n, at most max, with jitter. Jitter does not exceed max either: once the delay has grown
// to max, it varies from max × (1 - factor) to max.
//
// The policy never gives a message up. initial must be above 0, and max at least initial.
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

// Delay costs the same for every attempt.
func (e *exponential) Delay(attempt int, _ error) time.Duration {
	limit := float64(e.max)
	wait := min(float64(e.initial)*math.Pow(e.multiplier, float64(counted(attempt)-1)), limit)
	// Limit the range before drawing. Limiting the result would make half of all delays exactly
	// max.
	low, high := wait*(1-e.factor), min(wait*(1+e.factor), limit)
	return within(low+rand.Float64()*(high-low), e.max)
}

// Validate reports every argument that is out of range.
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
