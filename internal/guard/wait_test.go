package guard

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
)

// TestClosed: a channel that is closed in time, too late, and before.
func TestClosed(t *testing.T) {
	for name, tt := range map[string]struct {
		after, limit, took time.Duration
		want               bool
	}{
		"in time":  {time.Second, time.Minute, time.Second, true},
		"too late": {time.Minute, time.Second, time.Second, false},
		"no time":  {time.Second, 0, 0, false},
		"before":   {-1, 0, 0, true},
		"late end": {-1, -time.Hour, 0, true},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			done := make(chan struct{})
			if tt.after < 0 {
				close(done)
			} else {
				time.AfterFunc(tt.after, func() { close(done) })
			}
			start := time.Now()
			check.Want(t, "closed", Closed(done, tt.limit), tt.want)
			check.Want(t, "took", time.Since(start), tt.took)
			time.Sleep(time.Hour)
		})
	}
}

// TestReturns: code that hangs is left behind.
func TestReturns(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var ended atomic.Int32
		sleeps := func() { time.Sleep(time.Minute); ended.Add(1) }
		check.Want(t, "in time", Returns(time.Hour, sleeps), true)
		check.Want(t, "too late", Returns(time.Second, sleeps), false)
		check.Want(t, "ended", ended.Load(), 1)
		time.Sleep(time.Hour)
		synctest.Wait()
		check.Want(t, "ended later", ended.Load(), 2)
	})
}
