package control

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/internal/pool"
)

// TestSetCapacity: twice what may be in flight, and one a connection.
func TestSetCapacity(t *testing.T) {
	for name, tt := range map[string]struct {
		fixed   int
		maxRDYs []int
		want    int
	}{
		"fixed":                   {10, []int{2500, 2500}, 2*10 + 2},
		"fixed, no connection":    {10, nil, 2 * 10},
		"fixed, above max":        {10, []int{5}, 2*10 + 1},
		"automatic":               {0, []int{2500}, 2*2500 + 1},
		"automatic, before":       {0, nil, 2 * 2500},
		"automatic, low":          {0, []int{10}, 2*2500 + 1},
		"automatic, one is large": {0, []int{10, 4000, 20}, 2*4000 + 3},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			s := newService(t, Config{MaxInFlight: tt.fixed}, takes(0))
			var conns []*conn.Conn
			for _, n := range tt.maxRDYs {
				s.identify = map[string]any{"max_rdy_count": n}
				conns = append(conns, s.dial(nsqd1).conn)
			}
			s.locked(func() { s.setCapacity(conns, s.total) })
			check.Want(t, "capacity", s.capacity, tt.want)
		})
	}
}

// TestSetCapacityDown: the capacity goes up at once, and down a minute after the need for it has
// fallen, as messages sent before may be on their way.
func TestSetCapacityDown(t *testing.T) {
	for name, tick := range map[string]time.Duration{"awake": 100 * ms, "asleep": time.Hour} {
		check.Bubble(t, name, func(t *testing.T) {
			s := newService(t, Config{MaxInFlight: 10}, takes(0))
			set := func(fixed int) int {
				s.locked(func() {
					s.fixed = fixed
					s.setCapacity(nil, s.total)
				})
				return s.capacity
			}
			// stay is what happens for an hour with this need.
			stay := func(fixed int) {
				for range time.Hour / tick {
					set(fixed)
					time.Sleep(tick)
				}
			}
			check.Want(t, "at the start", s.capacity, 20)
			check.Want(t, "higher", set(100), 200)
			stay(100)
			check.Want(t, "lower", set(5), 200)
			for range 600 {
				check.Want(t, "lower, within a minute", set(5), 200)
				time.Sleep(100 * ms)
			}
			check.Want(t, "lower, after a minute", set(5), 200)
			time.Sleep(time.Nanosecond)
			check.Want(t, "lower, after more than a minute", set(5), 10)
			stay(5)
			check.Want(t, "higher again", set(50), 100)
			check.Want(t, "lower again", set(5), 100)
			time.Sleep(30 * time.Second)
			check.Want(t, "as high as needed", set(50), 100)
			stay(50)
			check.Want(t, "lower after that", set(40), 100) // a minute from now
			time.Sleep(time.Minute)
			check.Want(t, "lower still, after a minute", set(5), 100)
			time.Sleep(time.Nanosecond)
			check.Want(t, "lower still, after more than a minute", set(30), 60) // as needed now
			check.Want(t, "lower once more", set(20), 60)
			time.Sleep(time.Minute + 1)
			check.Want(t, "lower once more, after more than a minute", set(20), 40)
		})
	}
}

// TestCapacityAfterSleep: what nsqd sent before MaxInFlight was lowered finds room, although Run slept
// for an hour before.
func TestCapacityAfterSleep(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		s := newService(t, Config{MaxInFlight: 100, FixedRDY: true}, handle)
		s.run()
		l := s.dial(nsqd1)
		time.Sleep(time.Hour)
		check.Want(t, "asleep", s.sleeps(), true)
		check.Want(t, "quota", l.quota(), 100)
		s.SetMaxInFlight(2)
		synctest.Wait()
		check.Want(t, "quota after SetMaxInFlight", l.quota(), 2)
		l.flood(1, 100) // was on its way
		synctest.Wait()
		check.Want(t, "waiting", s.pool.Snapshot().Waiting, 99)
		l.wantCommands("REQ", "")
		check.Want(t, "events", len(s.posted(notify.GivenBack)), 0)
		release()
	})
}

// TestSetCapacityOfPool: the pool takes as many messages, and twice MaxInFlightBytes.
func TestSetCapacityOfPool(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 10, MaxInFlightBytes: 1000}, takes(0))
		l := s.dial(nsqd1)
		l.flood(1, 23) // there is no worker before Start
		synctest.Wait()
		check.Want(t, "messages at the start", s.pool.Snapshot().Waiting, 20)
		s.pool.Shed(0)
		s.locked(func() {
			s.fixed = 30
			s.setCapacity(nil, s.total)
		})
		l.flood(100, 63)
		synctest.Wait()
		check.Want(t, "messages after a change", s.pool.Snapshot().Waiting, 60)
		s.pool.Shed(0)
		for i := range uint64(10) {
			l.write(func(p *fake.Peer) { p.Message(fake.ID(200+i), 1, make([]byte, 300)) })
		}
		synctest.Wait()
		check.Want(t, "messages of 300 bytes", s.pool.Snapshot().Waiting, 6)
	})
}

// TestOverflow gives back the newest for a second, with quota 0, and ends a connection on which more
// arrive than fit into the pool.
func TestOverflow(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		handle, release := hanging()
		defer release()
		s := newService(t, Config{MaxInFlight: 2, FixedRDY: true}, handle)
		s.Start()
		l, other := s.dial(nsqd1), s.dial(nsqd2)
		s.adjust(false)
		const capacity = 2*2 + 2
		l.flood(1, 1)
		synctest.Wait()
		s.awake()
		s.sleep.Store(asleep)
		l.flood(2, capacity+3)
		l.wantCommands("REQ", "REQ 8 1000, REQ 9 1000, REQ a 1000")
		check.Want(t, "flood", s.flood[l.conn], 3)
		check.Want(t, "quota", l.quota(), 0)
		check.Want(t, "quota of the other", other.quota(), 1)
		check.Want(t, "woken", s.awake(), true)
		check.Want(t, "settled", s.settled(), false)

		s.measure() // half of them count
		check.Want(t, "flood after a tick", s.flood[l.conn], 1)
		s.measure()
		if _, known := s.flood[l.conn]; known {
			t.Error("a flood is not forgotten")
		}

		l.flood(0x100, capacity)
		synctest.Wait()
		check.Want(t, "flood, as much as fits", s.flood[l.conn], capacity)
		check.Want(t, "alive", l.conn.Alive(), true)
		other.flood(0x200, capacity) // has a flood of its own
		synctest.Wait()
		check.Want(t, "flood of the other", s.flood[other.conn], capacity)
		l.flood(0x300, 1)
		<-l.served
		if !errors.Is(l.err, pool.ErrFlood) {
			t.Errorf("Serve returned %v, want ErrFlood", l.err)
		}
		synctest.Wait()
		check.Want(t, "floods", len(s.flood), 1)
		check.Want(t, "the other is alive", other.conn.Alive(), true)
		check.Want(t, "counted as requeued", s.pool.Counts()[handler.Requeue], 3+capacity+capacity)
	})
}

// TestDetached forgets the flood of a connection, and wakes Run: others may have its quota.
func TestDetached(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		s := newService(t, Config{MaxInFlight: 2}, takes(0))
		l := s.dial(nsqd1)
		s.awake()
		s.locked(func() { s.flood[l.conn] = 5 })
		s.Detached(l.conn)
		check.Want(t, "floods", len(s.flood), 0)
		check.Want(t, "woken", s.awake(), true)
	})
}
