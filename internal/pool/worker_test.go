package pool

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/guard"
)

// takes returns a handler that takes d.
func takes(d time.Duration) func(*handler.Delivery) error {
	return func(*handler.Delivery) error {
		time.Sleep(d)
		return nil
	}
}

// TestResize, up and down while handlers run: surplus workers exit when they come for their next
// message, or at once if they sleep.
func TestResize(t *testing.T) {
	for _, batch := range []int{1, 16} {
		check.Bubble(t, strconv.Itoa(batch), func(t *testing.T) {
			s := newService(t, 1, takes(10*time.Millisecond))
			s.Tick(batch, false)
			l := s.dial(nsqd1)
			check := func(what string, workers, busy, idle, queued, finished int) {
				t.Helper()
				synctest.Wait()
				snapshot, counted := s.Snapshot(), s.Counts()[handler.Finish]
				check.Want(t, what+": workers", snapshot.Workers, workers)
				check.Want(t, what+": running", len(snapshot.Running), busy)
				check.Want(t, what+": idle", snapshot.Idle, idle)
				check.Want(t, what+": queued", snapshot.Waiting, queued)
				if batch == 1 || busy == 0 {
					check.Want(t, what+": finished", counted, uint64(finished))
				} else if counted > uint64(finished) { // FINs of a batch are sent together
					t.Errorf("%s: %d finished, want %d at most", what, counted, finished)
				}
				check.Want(t, what+": results", snapshot.Results, uint64(finished))
			}
			time.Sleep(5 * time.Millisecond) // from now on between two ends of handlers
			check("at first", 1, 0, 1, 0, 0)
			l.flood(1, 30)
			check("one", 1, 1, 0, 29, 0)
			s.Resize(4)
			check("four", 4, 4, 0, 26, 0)
			time.Sleep(15 * time.Millisecond)
			check("four, later", 4, 4, 0, 22, 4)
			s.Resize(2)
			check("two, wanted", 4, 4, 0, 22, 4)
			time.Sleep(10 * time.Millisecond)
			check("two", 2, 2, 0, 20, 8)
			s.Resize(1)
			s.Resize(3)
			check("three", 3, 3, 0, 19, 8)
			s.Resize(10)
			time.Sleep(30 * time.Millisecond)
			check("ten", 10, 0, 10, 0, 30)
			s.Resize(2)
			check("two, asleep", 2, 0, 2, 0, 30)
			l.send(31, 32, 33)
			check("two again", 2, 2, 0, 1, 30)
			s.Close()
			s.Resize(20)
			check("closed", 2, 2, 0, 0, 30)
			s.wantStop(10 * time.Millisecond)
			s.Resize(20)
			check("ended", 0, 0, 0, 0, 32)
			l.wantCommands("REQ", "REQ 21 0")
		})
	}
}

// TestResizeOften leaves neither workers nor counts behind, and no message waits meanwhile.
func TestResizeOften(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		const rounds, batch = 1000, 10
		s := newService(t, 1, takes(0))
		s.Tick(16, false)
		l := s.dial(nsqd1)
		last := uint64(0)
		for i := range rounds {
			l.flood(uint64(1+i*batch), batch)
			for j := range 10 {
				s.Resize(1 + (i+j)%7)
				if now := s.Counts()[handler.Finish]; now < last {
					t.Fatalf("%d finished, then %d", last, now)
				} else {
					last = now
				}
			}
			synctest.Wait()
			if n, want := s.Counts()[handler.Finish], uint64((i+1)*batch); n != want {
				t.Fatalf("%d finished, want %d", n, want)
			}
			if n, want := s.Snapshot().Workers, 1+(i+9)%7; n != want {
				t.Fatalf("%d workers, want %d", n, want)
			}
		}
		check.Want(t, "finished", s.Counts()[handler.Finish], rounds*batch)
		s.Resize(3)
		synctest.Wait()
		check.Want(t, "workers", s.Snapshot().Workers, 3)
		check.Want(t, "idle", s.Snapshot().Idle, 3)
		s.wantStop(0)
		check.Want(t, "finished at the end", s.Counts()[handler.Finish], rounds*batch)
		check.Want(t, "FINs", len(l.commands("FIN")), rounds*batch)
	})
}

// TestResizeUnderLoad: a backlog is handled by as many workers as there should be.
func TestResizeUnderLoad(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 2, takes(50*time.Millisecond))
		s.SetLimits(10_000, 1<<20, math.MaxInt)
		l := s.dial(nsqd1)
		l.flood(1, 2000)
		synctest.Wait()
		for _, n := range []int{2, 10, 3, 1, 64, 5} {
			s.Resize(n)
			time.Sleep(60 * time.Millisecond) // surplus workers finish their messages
			synctest.Wait()
			check.Want(t, "workers", s.Snapshot().Workers, n)
			check.Want(t, "running", len(s.Snapshot().Running), n)
			check.Want(t, "idle", s.Snapshot().Idle, 0)
			before := s.Snapshot().Results
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			check.Want(t, "results", s.Snapshot().Results-before, uint64(10*n))
		}
		for s.Snapshot().Waiting > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		s.Close()
		check.Want(t, "all workers have ended", s.Wait(time.Minute), true)
		s.Resize(9)
		synctest.Wait()
		check.Want(t, "workers after the end", s.Snapshot().Workers, 0)
		check.Want(t, "finished", s.Counts()[handler.Finish], 2000)
	})
}

// TestGoexit: after runtime.Goexit in a handler the rest of the batch is handled in order.
func TestGoexit(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		n := 0
		s := newService(t, 1, func(*handler.Delivery) error {
			if n++; n%2 == 1 {
				runtime.Goexit()
			}
			return nil
		})
		s.Tick(16, false)
		l := s.dial(nsqd1)
		l.flood(1, 6)
		l.wantCommands("REQ", "REQ 1 10000, REQ 3 10000, REQ 5 10000")
		l.wantCommands("FIN", "FIN 2, FIN 4, FIN 6")
		check.Want(t, "workers", s.Snapshot().Workers, 1)
		check.Want(t, "results", s.Snapshot().Results, 6)
		check.Want(t, "running", len(s.Snapshot().Running), 0)
		s.wantCounts("counts", disposed{handler.Finish: 3, handler.Requeue: 3})
		check.Want(t, "calls of Rescue", len(s.rescued), 3)
		for range 3 {
			if p, ok := errors.AsType[*handler.PanicError](<-s.rescued); !ok || p.Value != guard.ErrGoexit {
				t.Errorf("Rescue was called with %v, want ErrGoexit", p)
			}
		}
		s.wantStop(0)
	})
}

// TestGoexitOfSurplusWorker: a worker that Goexit ends settles its message before it exits.
func TestGoexitOfSurplusWorker(t *testing.T) {
	for name, then := range map[string]func(s *service){
		"surplus": func(s *service) { s.Resize(1) },
		"closed":  func(s *service) { s.Close() },
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s := newService(t, 2, func(*handler.Delivery) error {
				time.Sleep(time.Second)
				runtime.Goexit()
				return nil
			})
			l := s.dial(nsqd1)
			l.flood(1, 2)
			synctest.Wait()
			then(s)
			time.Sleep(2 * time.Second)
			got := l.commands("REQ", "FIN")
			slices.Sort(got)
			check.Want(t, "answers", len(got) == 2 && got[0] == "REQ 1 10000" && got[1] == "REQ 2 10000", true)
			s.wantCounts("counts", disposed{handler.Requeue: 2})
			s.wantStop(0)
		})
	}
}

// TestCloseFindsBatches: what waits in batches is given back at once.
func TestCloseFindsBatches(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 2, takes(3*time.Second))
		s.Tick(16, false)
		l := s.dial(nsqd1)
		l.flood(0x10, 32)
		synctest.Wait()
		check.Want(t, "queued", s.Snapshot().Waiting, 30)
		s.Close()
		given := l.commands("REQ")
		slices.Sort(given)
		check.Want(t, "given back", len(slices.Compact(given)), 30)
		s.wantStop(3 * time.Second)
		check.Want(t, "finished", len(l.commands("FIN")), 2)
		s.wantCounts("counts", disposed{handler.Finish: 2, handler.Interrupted: 30})
	})
}

// TestFlood: of more messages than fit, from two connections, each is handled or given back, and
// counted once.
func TestFlood(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 1, takes(10*time.Millisecond))
		s.SetLimits(2*8+2, 1<<20, math.MaxInt)
		other, l := s.dial(nsqd1), s.dial(nsqd2)
		other.flood(0x100, 34)
		synctest.Wait()
		l.flood(1, 4)
		time.Sleep(10 * time.Second)
		check.Want(t, "answered", len(l.commands("FIN", "REQ")), 4)
		sum := uint64(0)
		for _, n := range s.Counts() {
			sum += n
		}
		check.Want(t, "counted", sum, 34+4)
		check.Want(t, "finished", int(s.Counts()[handler.Finish]), len(l.commands("FIN"))+len(other.commands("FIN")))
		check.Want(t, "given back", int(s.Counts()[handler.Requeue]), len(l.commands("REQ"))+len(other.commands("REQ")))
		s.wantStop(0)
	})
}

// TestFinishedBeforeHang: the FINs of a batch do not wait for a handler that hangs, neither when time
// passes nor in the drain.
func TestFinishedBeforeHang(t *testing.T) {
	for name, then := range map[string]func(s *service){
		"a tick":  func(s *service) { s.Tick(16, false) },
		"suspend": func(s *service) { s.Suspend(0) },
		"close":   func(s *service) { s.Close() },
		"shed":    func(s *service) { s.Shed(2) },
	} {
		check.Bubble(t, name, func(t *testing.T) { hang(t, 4, 10, then) })
		check.Bubble(t, name+", at the last message", func(t *testing.T) { hang(t, 4, 4, then) })
	}
}

// hang delivers n messages together, of which the handler of one hangs.
func hang(t *testing.T, which, n int, then func(s *service)) {
	handled, release := 0, make(chan struct{})
	s := newService(t, 1, func(*handler.Delivery) error {
		if handled++; handled == which {
			<-release
		}
		return nil
	})
	s.Tick(16, false)
	l := s.dial(nsqd1)
	l.flood(1, n)
	synctest.Wait()
	l.wantCommands("FIN", "")
	then(s)
	l.wantCommands("FIN", "FIN 1, FIN 2, FIN 3")
	close(release)
	s.wantStop(0)
	check.Want(t, "finished", s.Counts()[handler.Finish] >= uint64(which), true)
}

// TestFinishedNeverFalls: messages whose FIN was not sent before the connection was lost never count
// as finished.
func TestFinishedNeverFalls(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		n, release := 0, make(chan struct{})
		s := newService(t, 1, func(*handler.Delivery) error {
			if n++; n == 4 {
				<-release
			}
			return nil
		})
		s.Tick(16, false)
		l := s.dial(nsqd1)
		l.flood(1, 10)
		synctest.Wait()
		check.Want(t, "results", s.Snapshot().Results, 3)
		check.Want(t, "finished before FINs are sent", s.Counts()[handler.Finish], 0)
		l.p.Close()
		<-l.served
		s.Tick(16, false)
		check.Want(t, "finished after the loss", s.Counts()[handler.Finish], 0)
		check.Want(t, "lost after the loss", s.Counts()[handler.Lost], 9)
		check.Want(t, "results after the loss", s.Snapshot().Results, 3)
		close(release)
		s.Close()
		check.Want(t, "all workers have ended", s.Wait(time.Minute), true)
		check.Want(t, "lost at the end", s.Counts()[handler.Lost], 10)
		check.Want(t, "finished at the end", s.Counts()[handler.Finish], 0)
		check.Want(t, "results at the end", s.Snapshot().Results, 4)
	})
}

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

// TestAnswersInOrder: a message that is not finished gets its own answer behind the FINs of those
// before it.
func TestAnswersInOrder(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		n := 0
		s := newService(t, 1, func(*handler.Delivery) error {
			if n++; n == 4 || n == 5 || n == 8 {
				return errBill
			}
			return nil
		})
		s.Tick(16, false)
		l := s.dial(nsqd1)
		l.flood(1, 8)
		l.wantCommands("FIN", "FIN 1, FIN 2, FIN 3, FIN 6, FIN 7")
		l.wantCommands("REQ", "REQ 4 0, REQ 5 0, REQ 8 0")
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
		for _, batch := range []int{1, 16} {
			check.Bubble(t, name+" "+strconv.Itoa(batch), func(t *testing.T) {
				runs, release := 0, make(chan struct{})
				s := newService(t, 1, func(*handler.Delivery) error {
					runs++
					<-release
					return nil
				})
				s.identify = map[string]any{"msg_timeout": 4000}
				s.Tick(batch, false)
				l := s.dial(nsqd1)
				l.flood(1, 3)
				synctest.Wait()
				tt.then(l)
				s.Tick(batch, false) // control does so ten times a second; inTime relies on it
				close(release)
				synctest.Wait()
				check.Want(t, "runs", runs, 1)
				l.wantCommands("REQ", tt.want)
				s.wantCounts("counts", tt.counts)
				check.Want(t, "results", s.Snapshot().Results, 1)
			})
		}
	}
}

// TestWatching: while successes are watched each FIN is sent before Succeeded is called.
func TestWatching(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 1, takes(time.Second))
		s.Tick(16, false)
		l := s.dial(nsqd1)
		l.flood(1, 6)
		time.Sleep(2500 * time.Millisecond)
		l.wantCommands("FIN", "")
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
