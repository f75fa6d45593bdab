package testnsqd

import (
	"os"
	"testing"
	"time"
)

// Stress returns how long a stress test should run: the duration in NSQX_STRESS. Defaults to half a
// second.
func Stress(tb testing.TB) time.Duration {
	tb.Helper()
	v, ok := os.LookupEnv("NSQX_STRESS")
	if !ok {
		return 500 * time.Millisecond
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		tb.Fatalf("testnsqd: NSQX_STRESS=%q is not a positive duration such as 30s", v)
	}
	return d
}
