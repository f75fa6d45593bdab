package pool

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// TestPark: a message whose handler answers later takes no worker, wherever in a write it came.
func TestPark(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 2, func(d *handler.Delivery) error {
			return handler.Async(func(context.Context, int, func(error)) {})(d.Context(), 0)
		})
		l := s.dial(nsqd1)
		l.flood(1, 20)
		synctest.Wait()
		snapshot := s.Snapshot()
		check.Want(t, "unanswered", len(snapshot.Parked), 20)
		check.Want(t, "busy", snapshot.Busy(), 0)
		check.Want(t, "idle", snapshot.Idle, 2)
		check.Want(t, "workers", snapshot.Workers, 22)
		l.conn.Abort(nil)
		synctest.Wait()
		check.Want(t, "workers then", s.Snapshot().Workers, 2)
		s.wantCounts("outcomes", disposed{handler.Lost: 20})
	})
}

// TestParkWhileOthersTake: workers take messages while others are parked and answer.
func TestParkWhileOthersTake(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 8, func(d *handler.Delivery) error {
			return handler.Async(func(_ context.Context, _ int, done func(error)) { go done(nil) })(d.Context(), 0)
		})
		s.SetLimits(5000, math.MaxInt, 5000)
		l := s.dial(nsqd1)
		for i := range 100 {
			l.flood(uint64(1+50*i), 50)
			if i%10 == 0 {
				s.Tick(false)
			}
		}
		time.Sleep(time.Second)
		s.wantCounts("outcomes", disposed{handler.Finish: 5000})
		check.Want(t, "workers", s.Snapshot().Workers, 8)
	})
}

// TestParkResize: what is parked counts as no worker when their number changes.
func TestParkResize(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var dones check.Synced[func(error)]
		s := newService(t, 4, func(d *handler.Delivery) error {
			return handler.Async(func(_ context.Context, _ int, done func(error)) { dones.Add(done) })(d.Context(), 0)
		})
		l := s.dial(nsqd1)
		l.flood(1, 10)
		synctest.Wait()
		s.Resize(1)
		synctest.Wait()
		check.Want(t, "workers", s.Snapshot().Workers, 11)
		l.flood(11, 5)
		s.Resize(3)
		synctest.Wait()
		check.Want(t, "unanswered", len(s.Snapshot().Parked), 15)
		check.Want(t, "idle", s.Snapshot().Idle, 3)
		for _, done := range dones.All() {
			done(nil)
		}
		synctest.Wait()
		s.wantCounts("outcomes", disposed{handler.Finish: 15})
		check.Want(t, "workers then", s.Snapshot().Workers, 3)
	})
}
