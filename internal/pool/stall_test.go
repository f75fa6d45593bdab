package pool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestReaderStall: a handler that hangs in a read loop holds up its connection for two ticks at most, and
// nobody else. For a time after that, read loops handle nothing.
func TestReaderStall(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s, l, onReader := readerService(t, 4, func(d *handler.Delivery) error {
			if d.ID == [16]byte([]byte("0000000000000100")) {
				return handle(d)
			}
			return nil
		})
		other := s.dial(nsqd2)
		l.flood(0x100, 3)
		synctest.Wait()
		check.Want(t, "running", len(s.Snapshot().Running), 1)
		check.Want(t, "idle", s.Snapshot().Idle, 3)
		check.Want(t, "waiting", s.Snapshot().Waiting, 2)
		other.send(0x200)
		check.Want(t, "results, with another connection", s.Snapshot().Results, 23)
		l.p.Heartbeat()
		time.Sleep(100 * time.Millisecond)
		s.Tick(false)
		l.wantCommands("NOP", "")
		time.Sleep(100 * time.Millisecond)
		s.Tick(false)
		l.wantCommands("NOP", "NOP")
		check.Want(t, "by read loops", onReader.Load(), 4)
		l.send(0x103)
		check.Want(t, "by read loops, then", onReader.Load(), 4)
		check.Want(t, "running still", len(s.Snapshot().Running), 1)
		release()
		synctest.Wait()
		check.Want(t, "workers", s.Snapshot().Workers, 4)
		check.Want(t, "running at last", len(s.Snapshot().Running), 0)
		time.Sleep(rarely * 200 * time.Millisecond)
		l.send(0x104)
		check.Want(t, "by read loops, later", onReader.Load(), 5)
		s.wantCounts("counts", disposed{handler.Finish: 26})
		s.wantStop(0)
	})
}

// TestReaderBlockedWrite: a connection that takes no answers costs no worker, and does not hold up a drain.
func TestReaderBlockedWrite(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, _, onReader := readerService(t, 1, nothing)
		s.block = make(chan struct{})
		blocked := s.dial(nsqd2)
		s.block = nil
		other := s.dial("nsqd-3:4150")
		blocked.send(0x100)
		check.Want(t, "by read loops", onReader.Load(), 1)
		check.Want(t, "reading", s.Snapshot().Reading, 1)
		other.send(0x101)
		check.Want(t, "results", s.Snapshot().Results, 22)
		blocked.p.Message(fake.ID(0x102), 1, nil)
		s.Tick(false)
		synctest.Wait()
		check.Want(t, "results, before it is relieved", s.Snapshot().Results, 22)
		s.Tick(false)
		synctest.Wait()
		check.Want(t, "results, then", s.Snapshot().Results, 23)
		check.Want(t, "reading at last", s.Snapshot().Reading, 0)
		s.Close()
		check.Want(t, "ended", s.Wait(time.Second), true)
		close(blocked.block)
	})
}

// TestReaderBarred: while read loops are to handle nothing, no message waits for one that hangs.
func TestReaderBarred(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s, l, _ := readerService(t, 8, func(d *handler.Delivery) error {
			switch d.ID[15] {
			case '0':
				return handle(d)
			case '1':
				time.Sleep(60 * time.Millisecond)
			}
			return nil
		})
		l2, l3 := s.dial(nsqd2), s.dial("nsqd-3:4150")
		l.send(0x100)
		l2.send(0x101)
		time.Sleep(100 * time.Millisecond)
		l3.send(0x102)
		check.Want(t, "waiting", s.Snapshot().Waiting, 0)
		release()
	})
}

// TestReaderSlows: handlers that become slow within a read hold up few of its messages.
func TestReaderSlows(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s, l, onReader := readerService(t, 8, takes(10*time.Millisecond))
		l.flood(0x100, 64)
		time.Sleep(200 * time.Millisecond)
		check.Want(t, "results", s.Snapshot().Results, 84)
		check.Want(t, "by read loops", onReader.Load(), 8)
	})
}

// TestStalls: read loops handle nothing for a while once more than 1/rarely of the time was lost lately.
func TestStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r readers
		stalled := func(d time.Duration) time.Duration {
			time.Sleep(min(d, time.Hour))
			r.stalled(d, time.Now())
			return max(time.Until(r.barred), 0)
		}
		check.Want(t, "barred after a moment", stalled(slow), 0)
		check.Want(t, "barred after 20 ms", stalled(20*time.Millisecond), 0)
		check.Want(t, "barred after 60 ms", stalled(40*time.Millisecond), 2*time.Second-40*time.Millisecond)
		time.Sleep(time.Minute)
		check.Want(t, "barred after a second", stalled(time.Second), 190*time.Second)
		r.stalled(time.Second, time.Now()) // another one at the same time
		check.Want(t, "barred after two at a time", time.Until(r.barred), 190*time.Second)
		check.Want(t, "barred after years", stalled(1<<62), mostBarred)
	})
}
