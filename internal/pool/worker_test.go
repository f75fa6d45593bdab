package pool

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
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
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 1, takes(10*time.Millisecond))
		l := s.dial(nsqd1)
		check := func(what string, workers, busy, idle, queued, finished int) {
			t.Helper()
			synctest.Wait()
			snapshot, counted := s.Snapshot(), s.Counts()[handler.Finish]
			check.Want(t, what+": workers", snapshot.Workers, workers)
			check.Want(t, what+": running", len(snapshot.Running), busy)
			check.Want(t, what+": idle", snapshot.Idle, idle)
			check.Want(t, what+": queued", snapshot.Waiting, queued)
			check.Want(t, what+": finished", counted, uint64(finished))
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

// TestResizeOften leaves neither workers nor counts behind, and no message waits meanwhile.
func TestResizeOften(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		const rounds, batch = 1000, 10
		s := newService(t, 1, takes(0))
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

// TestGoexit: after runtime.Goexit in a handler the messages behind it are handled in order.
func TestGoexit(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		n := 0
		s := newService(t, 1, func(*handler.Delivery) error {
			if n++; n%2 == 1 {
				runtime.Goexit()
			}
			return nil
		})
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

// TestCloseWhileBusy: what waits behind busy workers is given back at once.
func TestCloseWhileBusy(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 2, takes(3*time.Second))
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

// TestFinishedBeforeHang: FINs do not wait for a handler that hangs.
func TestFinishedBeforeHang(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, release := hangsAtFourth(t)
		l := s.dial(nsqd1)
		l.flood(1, 10)
		l.wantCommands("FIN", "FIN 1, FIN 2, FIN 3")
		s.wantCounts("counts", disposed{handler.Finish: 3})
		release()
		check.Want(t, "FINs at the end", len(l.commands("FIN")), 10)
		s.wantStop(0)
		s.wantCounts("counts at the end", disposed{handler.Finish: 10})
	})
}

// hangsAtFourth returns a service whose fourth handler hangs until release is called.
func hangsAtFourth(t *testing.T) (s *service, release func()) {
	n, released := 0, make(chan struct{})
	s = newService(t, 1, func(*handler.Delivery) error {
		if n++; n == 4 {
			<-released
		}
		return nil
	})
	return s, func() { close(released) }
}

// TestFinishedNeverFalls: what was finished before the connection was lost still counts so, and what was
// not never does.
func TestFinishedNeverFalls(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, release := hangsAtFourth(t)
		l := s.dial(nsqd1)
		l.flood(1, 10)
		synctest.Wait()
		check.Want(t, "results", s.Snapshot().Results, 3)
		s.wantCounts("before the loss", disposed{handler.Finish: 3})
		l.p.Close()
		<-l.served
		s.Tick(false)
		s.wantCounts("after the loss", disposed{handler.Finish: 3, handler.Lost: 6})
		check.Want(t, "results after the loss", s.Snapshot().Results, 3)
		release()
		s.Close()
		check.Want(t, "all workers have ended", s.Wait(time.Minute), true)
		s.wantCounts("at the end", disposed{handler.Finish: 3, handler.Lost: 7})
		check.Want(t, "results at the end", s.Snapshot().Results, 4)
		check.Want(t, "finished by handlers", s.Snapshot().Finished, 4)
	})
}

// TestInTime: a message is in time until its context ends. Messages of one read share one look at the
// clock.
func TestInTime(t *testing.T) {
	for name, tt := range map[string]struct {
		then func(src *source, m *handler.Delivery)
		want bool
	}{
		"at once":            {func(*source, *handler.Delivery) {}, true},
		"in time":            {func(*source, *handler.Delivery) { time.Sleep(58 * time.Second) }, true},
		"in the last second": {func(*source, *handler.Delivery) { time.Sleep(59 * time.Second) }, false},
		"too late":           {func(*source, *handler.Delivery) { time.Sleep(time.Hour) }, false},
		"source ended":       {func(src *source, _ *handler.Delivery) { src.end(handler.ErrShutdown) }, false},
		"TOUCH was refused":  {func(_ *source, m *handler.Delivery) { m.Expire() }, false},
		"own context":        {func(_ *source, m *handler.Delivery) { m.Context() }, true},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			src := newSource()
			defer src.end(nil)
			m := &src.messages(1, 1)[0]
			tt.then(src, m)
			w := &worker{since: time.Now()}
			check.Want(t, "in time", w.inTime(m), tt.want)
			m.Release()
		})
	}
	synctest.Test(t, func(t *testing.T) {
		src := newSource()
		defer src.end(nil)
		msgs := make([]handler.Delivery, 4)
		read := &handler.Read{Source: src, At: src.terms.Now()}
		for i := range msgs {
			msgs[i].Init(read, handler.ID{}, 1, 0, nil)
		}
		w := &worker{since: time.Now()}
		check.Want(t, "first", w.inTime(&msgs[0]), true)
		time.Sleep(2 * time.Minute)
		w.since = time.Now()
		check.Want(t, "second, by the same look at the clock", w.inTime(&msgs[1]), true)
		w.read = nil
		check.Want(t, "third, by another look", w.inTime(&msgs[2]), false)
		src.end(handler.ErrConnLost)
		check.Want(t, "fourth, of an ended source", w.inTime(&msgs[3]), false)
	})
}
