package guard

import "time"

// Closed waits until done is closed, at most for d, and reports whether it is.
func Closed(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Returns calls f, which may wait for user code that hangs, in a goroutine of its own. It reports
// whether f has returned within d. If not, f is left behind.
func Returns(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return Closed(done, d)
}
