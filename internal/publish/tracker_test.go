package publish

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// flushing calls Flush in a goroutine. returned reports whether Flush has returned.
func flushing(t *testing.T, tr *Tracker) (returned func() bool) {
	var over atomic.Bool
	go func() {
		if err := tr.Flush(context.Background()); err != nil {
			t.Errorf("Flush returned %v, want nil", err)
		}
		over.Store(true)
	}()
	return func() bool {
		synctest.Wait()
		return over.Load()
	}
}

func mustBegin(t *testing.T, tr *Tracker) int {
	t.Helper()
	epoch, ok := tr.Begin()
	if !ok {
		t.Fatal("Begin refused, want an epoch")
	}
	return epoch
}

// TestFlushWaitsForEarlier: Flush waits for what began before, and not for what begins later,
// however many flush.
func TestFlushWaitsForEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &Tracker{}
		if !flushing(t, tr)() {
			t.Error("Flush waits for nothing")
		}
		a, b := mustBegin(t, tr), mustBegin(t, tr)
		first := flushing(t, tr)
		first()
		c := mustBegin(t, tr)
		second := flushing(t, tr)
		second()
		d := mustBegin(t, tr)
		tr.End(a)
		if first() || second() {
			t.Error("Flush returned before b ended")
		}
		tr.End(b)
		if !first() || second() {
			t.Errorf("after b: first returned %v, second %v, want true and false", first(), second())
		}
		tr.End(c)
		// d began before the second could begin a new epoch, so the second may wait for d.
		tr.End(d)
		if !second() || !flushing(t, tr)() {
			t.Error("Flush waits, but nothing is under way")
		}
	})
}

// TestFlushDoesNotStarve: goroutines that flush again and again do not delay another Flush.
func TestFlushDoesNotStarve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &Tracker{}
		x := mustBegin(t, tr)
		one := flushing(t, tr)
		one()
		waiting := flushing(t, tr)
		waiting()
		var others []func() bool
		for range 100 {
			next := mustBegin(t, tr)
			others = append(others, flushing(t, tr))
			tr.End(x)
			x = next
			synctest.Wait()
		}
		if !one() || !waiting() {
			t.Error("Flush waits for publishes that began later")
		}
		tr.End(x)
		for _, over := range others {
			if !over() {
				t.Error("Flush has not returned, and nothing is under way")
			}
		}
	})
}

func TestFlushContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, cause := &Tracker{}, errors.New("the cause")
		a := mustBegin(t, tr)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		for range 3 {
			if err := tr.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cause) {
				t.Errorf("Flush returned %v, want the deadline and its cause", err)
			}
		}
		later := flushing(t, tr)
		if later() {
			t.Error("Flush returned, but a is under way")
		}
		tr.End(a)
		if !later() {
			t.Error("Flush waits, but nothing is under way")
		}
	})
}

func TestTrackerCloses(t *testing.T) {
	tr := &Tracker{}
	a := mustBegin(t, tr)
	tr.Close()
	tr.Close()
	if _, ok := tr.Begin(); ok {
		t.Error("Begin succeeded after Close")
	}
	tr.End(a)
	if err := tr.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTrackerUnderLoad: when Flush returns, all that began before has ended.
func TestTrackerUnderLoad(t *testing.T) {
	tr := &Tracker{}
	var begun, ended [8]atomic.Int64 // by each worker
	var workers, flushers sync.WaitGroup
	quit := make(chan struct{})
	for w := range begun {
		workers.Go(func() {
			for range 3000 {
				epoch, _ := tr.Begin()
				begun[w].Add(1)
				if rand.IntN(10) == 0 {
					time.Sleep(time.Microsecond)
				}
				ended[w].Add(1)
				tr.End(epoch)
			}
		})
	}
	for range 4 {
		flushers.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				var before [len(begun)]int64
				for w := range begun {
					before[w] = begun[w].Load()
				}
				if err := tr.Flush(t.Context()); err != nil {
					t.Error(err)
				}
				for w, n := range before {
					if ended[w].Load() < n {
						t.Errorf("worker %d: %d publishes have ended, want at least %d", w, ended[w].Load(), n)
					}
				}
			}
		})
	}
	workers.Wait()
	close(quit)
	flushers.Wait()
}
