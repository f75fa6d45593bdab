package pool

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// groups are the sizes of groups, and when they were handled.
type groups struct {
	check.Synced[string]
	began time.Time
}

// newGroups returns a service that takes groups of size 3, or after 10 s. Each takes a second.
func newGroups(t *testing.T, workers int, outcome func(m *handler.Message) handler.Outcome) (*service, *groups) {
	g := &groups{began: time.Now()}
	process := func(msgs []*handler.Message) {
		g.Add(fmt.Sprint(len(msgs), " at ", time.Since(g.began).Round(time.Second)))
		time.Sleep(time.Second)
		for _, m := range msgs {
			(*handler.Delivery)(m).SetOutcome(outcome(m))
		}
	}
	rescue := func(msgs []*handler.Message, err error) {
		for _, m := range msgs {
			if m.Outcome().Disposition == handler.Pending {
				(*handler.Delivery)(m).SetOutcome(handler.Outcome{Disposition: handler.Requeue, Delay: time.Second, Err: err})
			}
		}
	}
	return makeService(t, workers, nil, &Group{Size: 3, Wait: 10 * time.Second, Process: process, Rescue: rescue}), g
}

func finishes(*handler.Message) handler.Outcome { return handler.Outcome{Disposition: handler.Finish} }

func (g *groups) want(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	check.Want(t, "groups", strings.Join(g.All(), ", "), want)
}

// TestGroups: a group is taken when it is full, when it has waited, and when it holds all that may be
// in flight. Workers take groups at the same time.
func TestGroups(t *testing.T) {
	check.Bubble(t, "full", func(t *testing.T) {
		s, g := newGroups(t, 2, finishes)
		l := s.dial(nsqd1)
		l.send(1, 2)
		check.Want(t, "idle", s.Snapshot().Idle, 2)
		check.Want(t, "waiting", s.Snapshot().Waiting, 2)
		l.send(3, 4, 5, 6, 7)
		g.want(t, "3 at 0s, 3 at 0s")
		snapshot := s.Snapshot()
		check.Want(t, "busy", snapshot.Busy(), 2)
		check.Want(t, "running", len(snapshot.Running), 6)
		check.Want(t, "calls", snapshot.Runs, 0)
		time.Sleep(9 * time.Second)
		check.Want(t, "calls", s.Snapshot().Runs, 2)
		check.Want(t, "results", s.Snapshot().Results, 6)
		time.Sleep(2 * time.Second)
		g.want(t, "3 at 0s, 3 at 0s, 1 at 10s")
		s.wantStop(0)
		check.Want(t, "FINs", len(l.commands("FIN")), 7)
	})
	check.Bubble(t, "all that may be in flight", func(t *testing.T) {
		s, g := newGroups(t, 2, finishes)
		s.SetLimits(1000, math.MaxInt, 4)
		l := s.dial(nsqd1)
		l.send(1, 2, 3, 4)
		g.want(t, "3 at 0s, 1 at 0s")
		time.Sleep(2 * time.Second)
		l.send(5)
		g.want(t, "3 at 0s, 1 at 0s")
		s.SetLimits(1000, math.MaxInt, 1)
		g.want(t, "3 at 0s, 1 at 0s, 1 at 2s")
	})
}

// TestGroupOutcomes: each message has its own answer.
func TestGroupOutcomes(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, _ := newGroups(t, 1, func(m *handler.Message) handler.Outcome {
			if m.ID[15] == '2' {
				return handler.Outcome{Disposition: handler.Requeue, Delay: 2 * time.Second}
			}
			return finishes(m)
		})
		l := s.dial(nsqd1)
		l.send(1, 2, 3)
		time.Sleep(2 * time.Second)
		l.wantCommands("FIN REQ", "FIN 1, REQ 2 2000, FIN 3")
		s.wantCounts("outcomes", disposed{handler.Finish: 2, handler.Requeue: 1})
	})
	check.Bubble(t, "Goexit", func(t *testing.T) {
		s, g := newGroups(t, 1, func(m *handler.Message) handler.Outcome {
			if m.ID[15] == '2' {
				runtime.Goexit()
			}
			return finishes(m)
		})
		l := s.dial(nsqd1)
		l.send(1, 2, 3)
		time.Sleep(2 * time.Second)
		l.wantCommands("FIN REQ", "FIN 1, REQ 2 1000, REQ 3 1000")
		l.send(4, 5, 6)
		g.want(t, "3 at 0s, 3 at 2s")
	})
}

// TestGroupNoTimeLeft: messages whose contexts have ended in the queue are given back, and no handler runs.
func TestGroupNoTimeLeft(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, g := newGroups(t, 1, func(m *handler.Message) handler.Outcome {
			time.Sleep(800 * time.Millisecond) // 3.4 s for a group
			return finishes(m)
		})
		s.identify = map[string]any{"msg_timeout": 4000}
		l := s.dial(nsqd1)
		l.send(1, 2, 3, 4, 5, 6)
		time.Sleep(5 * time.Second)
		g.want(t, "3 at 0s")
		l.wantCommands("REQ", "REQ 4 0, REQ 5 0, REQ 6 0")
		s.wantCounts("outcomes", disposed{handler.Finish: 3, handler.Requeue: 3})
	})
}

// TestGroupClose: a free worker takes the group that forms; what has no worker is given back.
func TestGroupClose(t *testing.T) {
	check.Bubble(t, "free", func(t *testing.T) {
		s, g := newGroups(t, 2, finishes)
		l := s.dial(nsqd1)
		l.send(1, 2)
		s.wantStop(time.Second)
		g.want(t, "2 at 0s")
		l.wantCommands("FIN REQ", "FIN 1, FIN 2")
	})
	check.Bubble(t, "busy", func(t *testing.T) {
		s, g := newGroups(t, 1, finishes)
		l := s.dial(nsqd1)
		l.send(1, 2, 3, 4, 5)
		s.wantStop(time.Second)
		g.want(t, "3 at 0s")
		l.wantCommands("FIN REQ", "REQ 4 0, REQ 5 0, FIN 1, FIN 2, FIN 3")
	})
	check.Bubble(t, "suspended", func(t *testing.T) {
		s, g := newGroups(t, 1, finishes)
		l := s.dial(nsqd1)
		l.send(1, 2)
		check.Want(t, "given back", s.Suspend(0), 2)
		s.Resume()
		l.send(3, 4, 5)
		g.want(t, "3 at 0s")
	})
}

// TestGroupCloseWithTooManyWorkers: a worker that is to exit takes no group, so what waits for it is
// given back when the pool closes.
func TestGroupCloseWithTooManyWorkers(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, g := newGroups(t, 2, finishes)
		l := s.dial(nsqd1)
		l.send(1, 2, 3)
		time.Sleep(time.Millisecond)
		l.send(4, 5)
		s.queue.mu.Lock() // the free worker is woken, and has not run yet
		s.queue.workers = 1
		s.queue.wakeAll()
		keep := s.queue.lastGroup()
		s.queue.mu.Unlock()
		check.Want(t, "kept for a free worker", keep, 0)
		synctest.Wait()
		s.wantStop(999 * time.Millisecond)
		g.want(t, "3 at 0s")
		l.wantCommands("FIN REQ", "REQ 4 0, REQ 5 0, FIN 1, FIN 2, FIN 3")
	})
}

// TestGroupTimer: no timer is left when the pool has closed.
func TestGroupTimer(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, _ := newGroups(t, 1, finishes)
		s.dial(nsqd1).send(1)
		synctest.Wait()
		s.wantStop(time.Second)
		check.Want(t, "timer ran", s.queue.group.timer.Stop(), false)
	})
}
