// Tests of steady_helper_test.go.

package e2e

import (
	"fmt"
	"slices"
	"testing"
)

// TestSteady: a failure counts, and cleanups run in order.
func TestSteady(t *testing.T) {
	var order []string
	failed := tried(t, func(tb testing.TB) {
		tb.Cleanup(func() { order = append(order, "first"); _ = tb.Context().Err() })
		tb.Cleanup(func() { order = append(order, fmt.Sprint("second, ", tb.Context().Err())) })
		tb.Fatalf("this is %s", "wanted")
		order = append(order, "not reached")
	})
	if want := []string{"second, context canceled", "first"}; !failed || !slices.Equal(order, want) {
		t.Errorf("failed %t, order %q, want %q", failed, order, want)
	}
	if tried(t, func(tb testing.TB) { tb.Log("this does not fail") }) {
		t.Error("a test without a failure has failed")
	}
	if !tried(t, func(tb testing.TB) { tb.Error("this fails") }) {
		t.Error("a failure does not count")
	}
}
