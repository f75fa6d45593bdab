package pool

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// hanging returns a handler that hangs until release is called.
func hanging() (handle func(*handler.Delivery) error, release func()) {
	released := make(chan struct{})
	return func(*handler.Delivery) error {
		<-released
		return nil
	}, func() { close(released) }
}

// TestWorkers: Resize starts and ends workers until Close.
func TestWorkers(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 0, takes(0))
		workers := func() int {
			synctest.Wait()
			return s.Snapshot().Workers
		}
		check.Want(t, "workers of a new pool", workers(), 0)
		for _, n := range []int{3, 7, 7, 2, 1, 64} {
			s.Resize(n)
			check.Want(t, "workers", workers(), n)
			check.Want(t, "idle", s.Snapshot().Idle, n)
		}
		s.Suspend(0)
		s.Resize(4)
		check.Want(t, "workers while suspended", workers(), 4)
		check.Want(t, "all have ended", s.Wait(time.Second), false)
		s.Close()
		check.Want(t, "workers after Close", workers(), 0)
		check.Want(t, "all have ended", s.Wait(time.Second), true)
		for range 100 {
			check.Want(t, "all have ended, at once", s.Wait(0), true)
		}
		s.Resize(9)
		check.Want(t, "workers after Close and Resize", workers(), 0)
		s.Close()
	})
}

// TestResizeAfterClose starts no worker while others still run.
func TestResizeAfterClose(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, 3, handle)
		s.dial(nsqd1).flood(1, 2)
		synctest.Wait()
		s.Close()
		for _, n := range []int{10, 1} {
			s.Resize(n)
			synctest.Wait()
			check.Want(t, "workers", s.Snapshot().Workers, 2)
		}
		began := time.Now()
		check.Want(t, "all have ended", s.Wait(time.Second), false)
		check.Want(t, "time of Wait", time.Since(began), time.Second)
		release()
		check.Want(t, "all have ended", s.Wait(time.Second), true)
		check.Want(t, "time of Wait", time.Since(began), time.Second)
		check.Want(t, "workers", s.Snapshot().Workers, 0)
	})
}

// TestPut returns the newest messages with the reason why they were not taken.
func TestPut(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, 1, handle)
		l := s.dial(nsqd1)
		src := newSource()
		put := func(n int, wantErr error, wantRest ...int) {
			t.Helper()
			rest, _, err := s.Put(src.messages(0, n), false)
			if !errors.Is(err, wantErr) {
				t.Errorf("error %v, want %v", err, wantErr)
			}
			wantNumbers(t, "rest", pointers(rest), wantRest...)
		}
		l.flood(1, 1) // the worker is busy from now on
		synctest.Wait()
		s.SetLimits(3, math.MaxInt, math.MaxInt)
		put(5, ErrFlood, 3, 4)
		check.Want(t, "waiting", s.Snapshot().Waiting, 3)
		check.Want(t, "over capacity", s.Snapshot().OverCapacity, true)
		s.SetLimits(2, math.MaxInt, math.MaxInt)
		check.Want(t, "waiting with less capacity", s.Snapshot().Waiting, 3)
		put(1, ErrFlood, 0)
		s.SetLimits(4, math.MaxInt, math.MaxInt)
		put(1, nil)
		s.queue.shed(0) // src cannot requeue
		s.Suspend(0)
		put(2, ErrSuspended, 0, 1)
		s.Resume()
		put(2, nil)
		s.queue.shed(0)
		s.Close()
		put(2, ErrClosed, 0, 1)
		release()
	})
}

// TestPutDead: messages that cannot be answered any more make room for others, and are counted.
func TestPutDead(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, 1, handle)
		s.SetLimits(5, math.MaxInt, math.MaxInt)
		gone, l := s.dial(nsqd1), s.dial(nsqd2)
		gone.flood(1, 4) // one is running
		synctest.Wait()
		gone.p.Close()
		<-gone.served
		l.flood(0x10, 5)
		synctest.Wait()
		check.Want(t, "waiting", s.Snapshot().Waiting, 5)
		s.wantCounts("counts", disposed{handler.Lost: 3})
		l.wantCommands("REQ", "")
		release()
		synctest.Wait()
		s.wantCounts("counts at the end", disposed{handler.Lost: 4, handler.Finish: 5})
	})
}

// TestTick drops what has timed out.
func TestTick(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, 1, handle)
		s.identify = map[string]any{"msg_timeout": 4000}
		l := s.dial(nsqd1)
		l.flood(1, 3)
		time.Sleep(2 * time.Second)
		l.flood(4, 2)
		synctest.Wait()
		s.Tick(false)
		check.Want(t, "waiting", s.Snapshot().Waiting, 4)
		time.Sleep(2 * time.Second)
		s.Tick(false)
		check.Want(t, "waiting after the timeout", s.Snapshot().Waiting, 2)
		s.wantCounts("counts", disposed{handler.Expired: 2})
		check.Want(t, "given back", s.Snapshot().GivenBack, 0)
		l.wantCommands("REQ", "")
		release()
	})
}

// TestGivenBack: Shed, Suspend and Close answer what waits, and count it.
func TestGivenBack(t *testing.T) {
	for name, tt := range map[string]struct {
		then   func(s *service)
		want   string
		counts disposed
	}{
		"shed":         {func(s *service) { s.Shed(2) }, "REQ 5 0, REQ 4 0", disposed{handler.Requeue: 2}},
		"shed nothing": {func(s *service) { s.Shed(4) }, "", nil},
		"shed all":     {func(s *service) { s.Shed(0) }, "REQ 5 0, REQ 4 0, REQ 3 0, REQ 2 0", disposed{handler.Requeue: 4}},
		"suspend": {func(s *service) { s.Suspend(1500 * time.Millisecond) },
			"REQ 5 1500, REQ 4 1500, REQ 3 1500, REQ 2 1500", disposed{handler.Requeue: 4}},
		"suspend for long": {func(s *service) { s.Suspend(time.Hour) }, // MaxRequeueDelay is a minute
			"REQ 5 60000, REQ 4 60000, REQ 3 60000, REQ 2 60000", disposed{handler.Requeue: 4}},
		"close": {func(s *service) { s.Close() }, "REQ 2 0, REQ 3 0, REQ 4 0, REQ 5 0", disposed{handler.Interrupted: 4}},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			handle, release := hanging()
			s := newService(t, 1, handle)
			l := s.dial(nsqd1)
			l.flood(1, 5)
			synctest.Wait()
			tt.then(s)
			l.wantCommands("REQ", tt.want)
			s.wantCounts("counts", tt.counts)
			check.Want(t, "waiting", s.Snapshot().Waiting, 4-len(l.commands("REQ")))
			check.Want(t, "results", s.Snapshot().Results, 0) // no worker has settled them
			check.Want(t, "given back", s.Snapshot().GivenBack, tt.counts[handler.Requeue])
			release()
			s.wantStop(0)
		})
	}
}

// TestSuspendAndResume: no handler starts while the pool is suspended.
func TestSuspendAndResume(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 2, takes(0))
		l := s.dial(nsqd1)
		s.Suspend(0)
		l.flood(1, 2)
		l.wantCommands("FIN REQ", "REQ 1 1000, REQ 2 1000") // by the sink
		s.Resume()
		l.flood(3, 2)
		got := l.commands("FIN")
		slices.Sort(got)
		check.Want(t, "FINs", strings.Join(got, ", "), "FIN 3, FIN 4")
		s.wantCounts("counts", disposed{handler.Finish: 2, handler.Requeue: 2})
		s.wantStop(0)
	})
}

// TestRequeue counts a message that cannot be given back by the reason.
func TestRequeue(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(l *line)
		d      handler.Disposition
		sent   bool
		want   string
		counts disposed
	}{
		"requeue":     {func(*line) {}, handler.Requeue, true, "REQ 2 1000", disposed{handler.Requeue: 1}},
		"interrupted": {func(*line) {}, handler.Interrupted, true, "REQ 2 1000", disposed{handler.Interrupted: 1}},
		"expired":     {func(*line) { time.Sleep(5 * time.Second) }, handler.Requeue, false, "", disposed{handler.Expired: 1}},
		"lost":        {func(l *line) { l.conn.Abort(nil); <-l.served }, handler.Interrupted, false, "", disposed{handler.Lost: 1}},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			handle, release := hanging()
			s := newService(t, 1, handle)
			s.identify = map[string]any{"msg_timeout": 4000}
			l := s.dial(nsqd1)
			l.flood(1, 2)
			synctest.Wait()
			m := s.queue.shed(0)[0]
			tt.before(l)
			check.Want(t, "sent", s.Requeue(m, tt.d, time.Second), tt.sent)
			l.wantCommands("REQ", tt.want)
			s.wantCounts("counts", tt.counts)
			check.Want(t, "given back", s.Snapshot().GivenBack, tt.counts[handler.Requeue])
			if m.Body != nil {
				t.Error("the body is not released")
			}
			release()
		})
	}
}
