package e2e

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// mostTrials is how often steady begins anew.
	mostTrials = 5
	// standstill is how long the machine has to have stood still for a failure to be
	// its own: a tenth of the shortest time that a test here allows for an answer.
	standstill = 20 * time.Millisecond
)

// heart beats as long as the tests run.
var heart pulse

// steady runs a test of what nsqd gives only so much real time: a message
// timeout, a heartbeat. If it fails, and this process got no processor for a
// while, so that nobody could have been in time, then it begins anew.
func steady(t *testing.T, test func(tb testing.TB)) {
	t.Helper()
	for n := 1; ; n++ {
		before := heart.total(time.Now())
		if !tried(t, test) {
			return
		}
		stalled := heart.total(time.Now()) - before
		if stalled < standstill || n == mostTrials {
			t.Errorf("failed at trial %d of %d; the machine stood still for %v", n, mostTrials, stalled)
			return
		}
		t.Logf("the machine stood still for %v: once more", stalled)
	}
}

// tried says whether a test fails.
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

// trial is a test whose failure is not yet that of the test that Go runs.
type trial struct {
	*testing.T
	ctx    context.Context
	failed atomic.Bool

	mu       sync.Mutex
	cleanups []func()
}

// in runs fn in a goroutine of its own, which FailNow ends.
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

// outright is the test itself, for failures that no machine is to blame for.
func outright(tb testing.TB) testing.TB {
	if x, ok := tb.(*trial); ok {
		return x.T
	}
	return tb
}

// TestSteady: a failure counts, unless the machine is to blame for it.
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
