package handler_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nsqx/nsqx/handler"
)

func TestLease(t *testing.T) {
	freed := 0
	l := handler.NewLease(func() { freed++ })
	want(t, "new", l.Held(), 1)
	l.Hold(3)
	want(t, "held", l.Held(), 4)
	l.Release(2)
	want(t, "after two", l.Held(), 2)
	want(t, "freed too early", freed, 0)
	l.Release(2)
	want(t, "after all", l.Held(), 0)
	want(t, "freed", freed, 1)

	l.Hold(1) // the memory is in use again
	l.Release(1)
	want(t, "freed again", freed, 2)
}

func TestLeaseIsFreedOnceByMany(t *testing.T) {
	for range 200 {
		var freed atomic.Int32
		l := handler.NewLease(func() { freed.Add(1) })
		l.Hold(8)
		var done sync.WaitGroup
		for range 8 {
			done.Go(func() { l.Release(1) })
		}
		l.Release(1)
		done.Wait()
		want(t, "freed", freed.Load(), 1)
		want(t, "held", l.Held(), 0)
	}
}
