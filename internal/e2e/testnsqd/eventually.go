package testnsqd

import (
	"fmt"
	"testing"
	"time"
)

const pollInterval = 2 * time.Millisecond

// Eventually polls cond, from the goroutine of the caller, until it is true.
// After timeout it fails the test with the text of what it waited for. It is
// for what another process would be asked for: what can be waited for on a
// channel should be.
func Eventually(tb testing.TB, timeout time.Duration, cond func() bool, format string, args ...any) {
	tb.Helper()
	for deadline := time.Now().Add(timeout); !cond(); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			tb.Fatalf("testnsqd: waited %v for %s", timeout, fmt.Sprintf(format, args...))
		}
	}
}
