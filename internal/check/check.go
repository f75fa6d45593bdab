// Package check holds the test helpers that several packages share. Only tests import it.
package check

import (
	"errors"
	"math"
	"runtime/metrics"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// Want reports an error unless got equals want. what names the value.
func Want[T comparable](tb testing.TB, what string, got, want T) {
	tb.Helper()
	if got != want {
		tb.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// WantErr reports an error unless [errors.Is] finds want in got. A nil want requires a nil got.
func WantErr(tb testing.TB, what string, got, want error) {
	tb.Helper()
	if !errors.Is(got, want) {
		tb.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// Bubble runs f as a subtest in a synctest bubble. The subtest fails if f leaves a goroutine
// blocked.
func Bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// Synced is a list for concurrent use. The zero value is an empty list.
type Synced[T any] struct {
	mu   sync.Mutex
	list []T
}

// Add appends values.
func (s *Synced[T]) Add(values ...T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, values...)
}

// All returns a copy of the list.
func (s *Synced[T]) All() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// Len returns the length of the list.
func (s *Synced[T]) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

// Allocated returns how many bytes f allocates. What other goroutines allocate meanwhile counts, too, so f
// is called again while that is above limit, up to 20 times, and the least counts.
func Allocated(limit uint64, f func()) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	total := func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	least := uint64(math.MaxUint64)
	for range 20 {
		before := total()
		f()
		if least = min(least, total()-before); least <= limit {
			break
		}
	}
	return least
}
