package e2e

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// maxTrials is how often steady repeats a test.
	maxTrials = 5
	// minStall is the stall that excuses a failure: a tenth of the shortest time that a test here
	// allows for an answer.
	minStall = 20 * time.Millisecond
)

// stalls measures stalls while the tests run.
var stalls stallMeter

// steady runs a test with a real-time limit, such as a message timeout or a heartbeat. If it fails
// while this process was stalled, steady repeats it.
func steady(t *testing.T, test func(tb testing.TB)) {
	t.Helper()
	for n := 1; ; n++ {
		before := stalls.total(time.Now())
		if !tried(t, test) {
			return
		}
		stalled := stalls.total(time.Now()) - before
		if stalled < minStall || n == maxTrials {
			t.Errorf("failed at trial %d of %d; the process was stalled for %v", n, maxTrials, stalled)
			return
		}
		t.Logf("the process was stalled for %v: once more", stalled)
	}
}

// tried reports whether a test fails.
func tried(t *testing.T, test func(tb testing.TB)) bool {
	ctx, cancel := context.WithCancel(t.Context())
	x := &trial{T: t, ctx: ctx}
	x.in(func() { test(x) })
	cancel()
	for len(x.cleanups) > 0 {
		last := x.cleanups[len(x.cleanups)-1]
		x.cleanups = x.cleanups[:len(x.cleanups)-1]
		x.in(last)
	}
	return x.failed.Load()
}

// trial is a test whose failure does not fail the underlying test.
type trial struct {
	*testing.T
	ctx    context.Context
	failed atomic.Bool

	mu       sync.Mutex
	cleanups []func()
}

// in runs fn in its own goroutine, which FailNow ends.
func (x *trial) in(fn func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fn()
	}()
	<-ended
}

func (x *trial) Context() context.Context { return x.ctx }

func (x *trial) Cleanup(fn func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cleanups = append(x.cleanups, fn)
}

func (x *trial) Failed() bool { return x.failed.Load() }

func (x *trial) Fail() { x.failed.Store(true) }

func (x *trial) FailNow() {
	x.Fail()
	runtime.Goexit()
}

func (x *trial) Error(args ...any) {
	x.T.Helper()
	x.T.Log(args...)
	x.Fail()
}

func (x *trial) Errorf(format string, args ...any) {
	x.T.Helper()
	x.T.Logf(format, args...)
	x.Fail()
}

func (x *trial) Fatal(args ...any) {
	x.T.Helper()
	x.T.Log(args...)
	x.FailNow()
}

func (x *trial) Fatalf(format string, args ...any) {
	x.T.Helper()
	x.T.Logf(format, args...)
	x.FailNow()
}

// outright returns the underlying test, for failures that no stall excuses.
func outright(tb testing.TB) testing.TB {
	if x, ok := tb.(*trial); ok {
		return x.T
	}
	return tb
}
