package pool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestAnswers: each outcome has its answer and its count.
func TestAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		out  handler.Outcome
		want string
	}{
		"finish":      {handler.Outcome{Disposition: handler.Finish}, "FIN 1"},
		"requeue":     {handler.Outcome{Disposition: handler.Requeue, Delay: 3 * time.Second, Err: errBill}, "REQ 1 3000"},
		"drop":        {handler.Outcome{Disposition: handler.Drop, Err: errBill}, "FIN 1"},
		"dead letter": {handler.Outcome{Disposition: handler.DeadLetter, Err: errBill}, "FIN 1"},
		"interrupted": {handler.Outcome{Disposition: handler.Interrupted, Err: errBill}, "REQ 1 0"},
		"expired":     {handler.Outcome{Disposition: handler.Expired, Err: errBill}, ""},
		"lost":        {handler.Outcome{Disposition: handler.Lost, Err: errBill}, ""},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s := newServiceOf(t, 1, func(*handler.Delivery) handler.Outcome { return tt.out })
			l := s.dial(nsqd1)
			l.flood(1, 1)
			l.wantCommands("FIN REQ", tt.want)
			s.wantCounts("counts", disposed{tt.out.Disposition: 1})
			check.Want(t, "results", s.Snapshot().Results, 1)
			check.Want(t, "in flight", l.conn.Load(false).InFlight, 0)
			s.wantStop(0)
		})
	}
}

// TestAnswersInOrder: a worker's answers are sent in the order in which its messages came.
func TestAnswersInOrder(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		n := 0
		s := newService(t, 1, func(*handler.Delivery) error {
			if n++; n == 4 || n == 5 || n == 8 {
				return errBill
			}
			return nil
		})
		l := s.dial(nsqd1)
		l.flood(1, 8)
		l.wantCommands("FIN REQ", "FIN 1, FIN 2, FIN 3, REQ 4 0, REQ 5 0, FIN 6, FIN 7, REQ 8 0")
		s.wantCounts("counts", disposed{handler.Finish: 5, handler.Requeue: 3})
		check.Want(t, "results", s.Snapshot().Results, 8)
		s.wantStop(0)
	})
}

// TestAnswerTooLate: what nsqd has given to another consumer, or has lost, is counted so whatever the
// handler returned. A late success is still sent.
func TestAnswerTooLate(t *testing.T) {
	for name, tt := range map[string]struct {
		out   handler.Outcome
		lost  bool
		count handler.Disposition
		want  string
	}{
		"finish, late":      {handler.Outcome{Disposition: handler.Finish}, false, handler.Finish, "FIN 1"},
		"requeue, late":     {handler.Outcome{Disposition: handler.Requeue}, false, handler.Expired, ""},
		"dead letter, late": {handler.Outcome{Disposition: handler.DeadLetter}, false, handler.Expired, ""},
		"finish, lost":      {handler.Outcome{Disposition: handler.Finish}, true, handler.Lost, ""},
		"requeue, lost":     {handler.Outcome{Disposition: handler.Requeue}, true, handler.Lost, ""},
		"drop, lost":        {handler.Outcome{Disposition: handler.Drop}, true, handler.Lost, ""},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s := newServiceOf(t, 1, func(*handler.Delivery) handler.Outcome {
				time.Sleep(5 * time.Second)
				return tt.out
			})
			s.identify = map[string]any{"msg_timeout": 4000}
			l := s.dial(nsqd1)
			l.flood(1, 1)
			synctest.Wait()
			if tt.lost {
				l.p.Close()
			}
			time.Sleep(6 * time.Second)
			l.wantCommands("FIN REQ", tt.want)
			s.wantCounts("counts", disposed{tt.count: 1})
			check.Want(t, "results", s.Snapshot().Results, 1)
		})
	}
}

// TestGivenBackWhileRunning: a message that the drain requeues under its handler is counted by
// neither FIN nor REQ of the worker.
func TestGivenBackWhileRunning(t *testing.T) {
	for name, out := range map[string]handler.Outcome{
		"finish":  {Disposition: handler.Finish},
		"requeue": {Disposition: handler.Requeue, Err: errBill},
		"drop":    {Disposition: handler.Drop, Err: errBill},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			release := make(chan struct{})
			s := newServiceOf(t, 1, func(*handler.Delivery) handler.Outcome {
				<-release
				return out
			})
			l := s.dial(nsqd1)
			l.flood(1, 1)
			synctest.Wait()
			running := s.Snapshot().Running
			if len(running) != 1 || running[0].ID.String() != fake.ID(1) {
				t.Fatalf("running: %v, want message 1", running)
			}
			check.Want(t, "requeued", running[0].Source().(*conn.Conn).Requeue(running[0], 0), true)
			close(release)
			l.wantCommands("FIN REQ", "REQ 1 0")
			s.wantCounts("counts", disposed{handler.Interrupted: 1})
			check.Want(t, "results", s.Snapshot().Results, 1)
			s.wantStop(0)
		})
	}
}

// TestNoTimeLeft: a message whose context has ended in the queue is given back, and no handler runs.
func TestNoTimeLeft(t *testing.T) {
	for name, tt := range map[string]struct {
		then   func(l *line)
		counts disposed
		want   string
	}{
		"no time left":   {func(*line) { time.Sleep(3500 * time.Millisecond) }, disposed{handler.Finish: 1, handler.Requeue: 2}, "REQ 2 0, REQ 3 0"},
		"timed out":      {func(*line) { time.Sleep(5 * time.Second) }, disposed{handler.Finish: 1, handler.Expired: 2}, ""},
		"shutdown":       {func(l *line) { l.conn.CancelMessages(handler.ErrShutdown) }, disposed{handler.Finish: 1, handler.Interrupted: 2}, "REQ 2 0, REQ 3 0"},
		"connection end": {func(l *line) { l.p.Close(); <-l.served }, disposed{handler.Lost: 3}, ""},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			runs, release := 0, make(chan struct{})
			s := newService(t, 1, func(*handler.Delivery) error {
				runs++
				<-release
				return nil
			})
			s.identify = map[string]any{"msg_timeout": 4000}
			l := s.dial(nsqd1)
			l.flood(1, 3)
			synctest.Wait()
			tt.then(l)
			close(release)
			synctest.Wait()
			check.Want(t, "runs", runs, 1)
			l.wantCommands("REQ", tt.want)
			s.wantCounts("counts", tt.counts)
			check.Want(t, "results", s.Snapshot().Results, 1)
		})
	}
}

// TestWatching: Succeeded is called while successes are watched, after each FIN.
func TestWatching(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 1, takes(time.Second))
		l := s.dial(nsqd1)
		l.flood(1, 6)
		time.Sleep(2500 * time.Millisecond)
		l.wantCommands("FIN", "FIN 1, FIN 2")
		check.Want(t, "successes before", s.succeeded.Load(), 0)
		s.watching.Store(true)
		time.Sleep(time.Second)
		l.wantCommands("FIN", "FIN 1, FIN 2, FIN 3")
		check.Want(t, "successes", s.succeeded.Load(), 1)
		time.Sleep(time.Second)
		l.wantCommands("FIN", "FIN 1, FIN 2, FIN 3, FIN 4")
		check.Want(t, "successes", s.succeeded.Load(), 2)
		s.watching.Store(false)
		time.Sleep(5 * time.Second)
		check.Want(t, "successes after", s.succeeded.Load(), 2)
		check.Want(t, "FINs", len(l.commands("FIN")), 6)
		s.wantStop(0)
	})
}
