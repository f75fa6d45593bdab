package pool

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// started returns how many goroutines of workers there are.
func (s *service) started() int {
	synctest.Wait()
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return len(s.queue.all)
}

// TestStart: a worker starts for a message that finds no idle one, and not before.
func TestStart(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 8, takes(time.Second))
		l := s.dial(nsqd1)
		check.Want(t, "started at first", s.started(), 0)
		check.Want(t, "idle at first", s.Snapshot().Idle, 8)
		for i := range 5 {
			l.send(uint64(1 + i))
			check.Want(t, "started for one message at a time", s.started(), 1)
			time.Sleep(2 * time.Second)
		}
		l.flood(0x10, 3)
		check.Want(t, "started for three", s.started(), 3)
		l.flood(0x20, 20)
		check.Want(t, "started for many", s.started(), 8)
		check.Want(t, "running", len(s.Snapshot().Running), 8)
		check.Want(t, "idle", s.Snapshot().Idle, 0)
		time.Sleep(10 * time.Second)
		s.wantCounts("counts", disposed{handler.Finish: 28})
		check.Want(t, "idle at the end", s.Snapshot().Idle, 8)
		s.wantStop(0)
	})
}

// TestRest ends idle workers only. Later messages start workers again, and counts stay.
func TestRest(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 4, takes(time.Second))
		l := s.dial(nsqd1)
		s.Tick(true)
		l.flood(1, 4)
		time.Sleep(1500 * time.Millisecond)
		l.flood(5, 1)
		check.Want(t, "started", s.started(), 4)
		s.Tick(true)
		check.Want(t, "started after a rest", s.started(), 1)
		check.Want(t, "workers", s.Snapshot().Workers, 4)
		check.Want(t, "idle", s.Snapshot().Idle, 3)
		l.send(6, 7, 8)
		check.Want(t, "running", len(s.Snapshot().Running), 4)
		time.Sleep(2 * time.Second)
		s.Tick(true)
		check.Want(t, "started at last", s.started(), 0)
		check.Want(t, "results", s.Snapshot().Results, 8)
		s.wantCounts("counts", disposed{handler.Finish: 8})
		s.wantStop(0)
		s.wantCounts("counts at the end", disposed{handler.Finish: 8})
	})
}

// TestRestShrinks: a rest frees the memory of a backlog.
func TestRestShrinks(t *testing.T) {
	q, src := newQueueOf(10_000), newSource()
	for i := range 1000 {
		mustPut(t, q, src.messages(i, 1))
	}
	q.rest()
	check.Want(t, "waiting", waiting(q), 1000)
	q.shed(0)
	q.rest()
	check.Want(t, "runs of an empty queue", len(q.deque.runs), leastRuns)
}

// TestRestOfGroups: a group is handled although all workers have ended while it formed, and at the end
// of the pool.
func TestRestOfGroups(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, g := newGroups(t, 2, finishes)
		l := s.dial(nsqd1)
		l.send(1)
		s.Tick(true)
		time.Sleep(12 * time.Second)
		g.want(t, "1 at 10s")
		check.Want(t, "started", s.started(), 1)
		s.Tick(true)
		check.Want(t, "started after a rest", s.started(), 0)
		l.send(2, 3)
		s.wantStop(time.Second)
		g.want(t, "1 at 10s, 2 at 12s")
	})
}

// TestRestWithGoexit: a worker whose handler has ended its goroutine can rest.
func TestRestWithGoexit(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 2, func(*handler.Delivery) error {
			runtime.Goexit()
			return nil
		})
		l := s.dial(nsqd1)
		l.send(1)
		<-s.rescued
		check.Want(t, "started", s.started(), 1)
		s.Tick(true)
		check.Want(t, "started after a rest", s.started(), 0)
		l.send(2)
		<-s.rescued
		check.Want(t, "REQs", strings.Join(l.commands("REQ"), ", "), "REQ 1 10000, REQ 2 10000")
		s.wantStop(0)
	})
}

// TestRestIsNoWork: workers that a rest has ended, and that have not run yet, are neither busy nor woken.
func TestRestIsNoWork(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 64, takes(time.Second))
		s.dial(nsqd1).flood(1, 64)
		time.Sleep(2 * time.Second)
		check.Want(t, "started", s.started(), 64)
		s.Tick(true)
		q := s.queue
		q.mu.Lock()
		busy, woken, idle := q.busyTime.busy, q.woken, q.idle()
		q.mu.Unlock()
		check.Want(t, "busy", busy, 0)
		check.Want(t, "woken", woken, 0)
		check.Want(t, "idle", idle, 64)
		check.Want(t, "started after a rest", s.started(), 0)
		s.wantStop(0)
	})
}
