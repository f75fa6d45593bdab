package testnsqd

import (
	"fmt"
	"testing"
	"time"
)

const pollInterval = 2 * time.Millisecond

// Eventually polls cond, from the caller's goroutine, until it is true. After timeout it fails the
// test and reports what it waited for. Use it only for what no channel reports.
func Eventually(tb testing.TB, timeout time.Duration, cond func() bool, format string, args ...any) {
	tb.Helper()
	for deadline := time.Now().Add(timeout); !cond(); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			tb.Fatalf("testnsqd: waited %v for %s", timeout, fmt.Sprintf(format, args...))
		}
	}
}
