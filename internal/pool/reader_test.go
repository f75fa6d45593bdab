package pool

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// byReader reports whether the caller runs on a goroutine that reads.
func byReader() bool {
	stack := make([]byte, 16<<10)
	return strings.Contains(string(stack[:runtime.Stack(stack, false)]), "(*reader).loop")
}

// readerService returns a service whose read loops handle messages, and whose handler calls handle for
// messages with ids from 100 on. onReader counts those that read loops have handled.
func readerService(t *testing.T, workers int, handle func(d *handler.Delivery) error) (s *service, l *line, onReader *atomic.Int32) {
	onReader = new(atomic.Int32)
	s = newService(t, workers, func(d *handler.Delivery) error {
		if byReader() {
			onReader.Add(1)
		}
		if d.ID[13] == '0' { // below 0x100
			return nil
		}
		return handle(d)
	})
	l = s.dial(nsqd1)
	for i := range 20 {
		l.send(uint64(1 + i))
	}
	check.Want(t, "handled by read loops, after the first", onReader.Load() > 5, true)
	onReader.Store(0)
	return s, l, onReader
}

func nothing(*handler.Delivery) error { return nil }

// TestReader: read loops handle messages once handlers are known to be quick.
func TestReader(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, l, onReader := readerService(t, 4, nothing)
		for i := range 10 {
			l.flood(uint64(0x100+5*i), 5)
			synctest.Wait()
		}
		check.Want(t, "handled by read loops", onReader.Load(), 50)
		check.Want(t, "started", s.started(), 1) // for the first messages
		snapshot := s.Snapshot()
		check.Want(t, "workers", snapshot.Workers, 4)
		check.Want(t, "idle", snapshot.Idle, 4)
		check.Want(t, "results", snapshot.Results, 70)
		check.Want(t, "finished", snapshot.Finished, 70)
		s.wantCounts("counts", disposed{handler.Finish: 70})
		s.wantStop(0)
	})
}

// TestReaderOutcomes: what read loops handle is answered as workers do.
func TestReaderOutcomes(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, l, onReader := readerService(t, 4, func(d *handler.Delivery) error {
			if d.ID[15] == '1' {
				return errBill
			}
			return nil
		})
		l.flood(0x100, 3)
		l.wantCommands("REQ", "REQ 101 0")
		check.Want(t, "handled by read loops", onReader.Load(), 3)
		s.wantCounts("counts", disposed{handler.Finish: 22, handler.Requeue: 1})
		s.wantStop(0)
	})
}

// TestReaderNot: read loops handle nothing while handlers take long.
func TestReaderNot(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		slow := 100 * time.Microsecond
		s, l, onReader := readerService(t, 4, takes(slow))
		for i := range 100 {
			l.send(uint64(0x100 + i))
			time.Sleep(time.Millisecond)
		}
		n := onReader.Load()
		check.Want(t, "few are handled by read loops", n < 10, true)
		for i := range 100 {
			l.send(uint64(0x200 + i))
			time.Sleep(time.Millisecond)
		}
		check.Want(t, "none is, later", onReader.Load(), n)
		s.wantStop(0)
	})
}

// TestReaderNever: workers handle all messages of a connection that never works.
func TestReaderNever(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, 1, takes(0))
		s.heartbeat = time.Second
		l := s.dial(nsqd1)
		for i := range 50 {
			l.send(uint64(1 + i))
			check.Want(t, "results", s.Snapshot().Results, uint64(1+i))
		}
		s.wantStop(0)
	})
}

// TestReaderBacklog: a backlog that would keep a read loop busy is handled by all workers.
func TestReaderBacklog(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		const each = 40 * time.Microsecond
		s, l, _ := readerService(t, 8, takes(each))
		for i := range 50 {
			l.send(uint64(0x100 + i))
			time.Sleep(time.Millisecond)
		}
		began := time.Now()
		l.flood(0x200, 80)
		for s.Snapshot().Results < 150 {
			time.Sleep(each / 4)
		}
		if took := time.Since(began); took > 12*each {
			t.Errorf("80 messages take %v, with 8 workers and handlers of %v", took, each)
		}
		s.wantStop(0)
	})
}

// TestReaderResize: fewer workers hold for the next message of read loops, too.
func TestReaderResize(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var now, most atomic.Int32
		s, l, _ := readerService(t, 4, func(d *handler.Delivery) error {
			if n := now.Add(1); d.ID[15] != '0' && n > most.Load() {
				most.Store(n)
			}
			time.Sleep(100 * time.Millisecond)
			now.Add(-1)
			return nil
		})
		for i, l := range []*line{l, s.dial(nsqd2), s.dial("nsqd-3:4150"), s.dial("nsqd-4:4150")} {
			l.flood(uint64(0x100+16*i), 8)
		}
		synctest.Wait()
		s.Resize(1)
		time.Sleep(150 * time.Millisecond)
		most.Store(0)
		time.Sleep(900 * time.Millisecond)
		check.Want(t, "handlers at once", most.Load(), 1)
		time.Sleep(5 * time.Second)
	})
}

// TestReaderConcurrency: workers and read loops together handle as many messages as there may be workers.
func TestReaderConcurrency(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s, l, _ := readerService(t, 2, handle)
		lines := []*line{l, s.dial(nsqd2), s.dial("nsqd-3:4150"), s.dial("nsqd-4:4150")}
		for i, l := range lines {
			l.flood(uint64(0x100+16*i), 2)
		}
		for range 3 {
			synctest.Wait()
			snapshot := s.Snapshot()
			check.Want(t, "running", len(snapshot.Running), 2)
			check.Want(t, "idle", snapshot.Idle, 0)
			check.Want(t, "waiting", snapshot.Waiting, 6)
			s.Tick(false)
		}
		s.Resize(3)
		synctest.Wait()
		check.Want(t, "running, with one more", len(s.Snapshot().Running), 3)
		release()
		synctest.Wait()
		check.Want(t, "workers", s.Snapshot().Workers, 3)
		s.wantCounts("counts", disposed{handler.Finish: 28})
		s.wantStop(0)
	})
}

// TestReaderGoexit: user code that ends the goroutine that reads does not end its connection.
func TestReaderGoexit(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, l, onReader := readerService(t, 2, func(*handler.Delivery) error {
			runtime.Goexit()
			return nil
		})
		l.flood(0x100, 3)
		got := l.commands("REQ")
		slices.Sort(got)
		check.Want(t, "REQs", strings.Join(got, ", "), "REQ 100 10000, REQ 101 10000, REQ 102 10000")
		check.Want(t, "by read loops", onReader.Load() > 0, true)
		check.Want(t, "calls of Rescue", len(s.rescued), 3)
		l.p.Heartbeat()
		l.wantCommands("NOP", "NOP")
		check.Want(t, "workers", s.Snapshot().Workers, 2)
		s.wantCounts("counts", disposed{handler.Finish: 20, handler.Requeue: 3})
		s.wantStop(0)
	})
}

// TestReaderPark: a read loop reads on when its handler is to answer later.
func TestReaderPark(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		var dones check.Synced[func(error)]
		s, l, onReader := readerService(t, 2, func(d *handler.Delivery) error {
			return handler.Async(func(_ context.Context, _ int, done func(error)) { dones.Add(done) })(d.Context(), 0)
		})
		l.send(0x100)
		check.Want(t, "by read loops", onReader.Load(), 1)
		l.flood(0x101, 5)
		synctest.Wait()
		check.Want(t, "unanswered", len(s.Snapshot().Parked), 6)
		check.Want(t, "idle", s.Snapshot().Idle, 2)
		for _, done := range dones.All() {
			done(nil)
		}
		synctest.Wait()
		s.wantCounts("counts", disposed{handler.Finish: 26})
		check.Want(t, "workers", s.Snapshot().Workers, 2)
		s.wantStop(0)
	})
}

// TestReaderClose: Close lets others read in place of goroutines that handle messages, and what waits is given
// back.
func TestReaderClose(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s, l, _ := readerService(t, 2, handle)
		l.flood(0x100, 2)
		synctest.Wait()
		l.conn.StopDelivery()
		s.Close()
		l.wantCommands("CLS REQ", "CLS, REQ 101 0")
		check.Want(t, "ended, while it hangs", s.Wait(time.Second), false)
		l.p.Heartbeat()
		l.wantCommands("NOP", "NOP")
		release()
		check.Want(t, "ended", s.Wait(time.Second), true)
		l.wantCommands("REQ", "REQ 101 0")
		s.wantCounts("counts", disposed{handler.Finish: 21, handler.Interrupted: 1})
	})
}

// TestMeasured: quick messages make a mean that is quick, one slow one makes it slow.
func TestMeasured(t *testing.T) {
	r := readers{mean: unmeasured}
	n := 0
	for ; r.mean > quick; n++ {
		r.measured(0, 1)
	}
	check.Want(t, "messages until quick", n, 11)
	r.measured(time.Hour, 1)
	check.Want(t, "quick after a slow one", r.mean <= quick, false)
	r.measured(100*time.Microsecond, 100)
	check.Want(t, "mean after many", r.mean, time.Microsecond)
}
