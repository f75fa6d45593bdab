package flow_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/flow"
)

// turnsWorld plays nsqds with few handlers, in steps of a millisecond.
type turnsWorld struct {
	turns   flow.Turns[int]
	slots   int
	service time.Duration // a tenth more or less
	even    bool          // exactly service
	hang    int           // 1: handlers hang
	start   time.Duration // of busyTime
	rtt     time.Duration

	now      time.Duration
	conns    []turnsConn
	running  []running
	next     time.Duration // of Step
	busyTime time.Duration
	rdys     int
	waits    []time.Duration // from publish to handler
	most     int             // messages in flight, all together
}

type turnsConn struct {
	backlog  []time.Duration // when they were published
	received uint64
	inFlight int
	quota    int
	lowered  time.Duration // when the quota was
}

type running struct {
	conn int
	end  time.Duration
}

func newTurnsWorld(conns, slots int, service time.Duration) *turnsWorld {
	return &turnsWorld{slots: slots, service: service, conns: make([]turnsConn, conns)}
}

func (w *turnsWorld) publish(conn, n int) {
	for range n {
		w.conns[conn].backlog = append(w.conns[conn].backlog, w.now)
	}
}

// run plays for d; each is called once a millisecond.
func (w *turnsWorld) run(d time.Duration, each func()) {
	for end := w.now + d; w.now < end; w.now += time.Millisecond {
		if each != nil {
			each()
		}
		changed := false
		w.running = slices.DeleteFunc(w.running, func(r running) bool {
			if r.end > w.now {
				return false
			}
			w.conns[r.conn].inFlight--
			changed = true
			return true
		})
		for i := range w.conns {
			if c := &w.conns[i]; c.inFlight < c.quota && len(c.backlog) > 0 && len(w.running) < w.slots {
				w.waits = append(w.waits, w.now-c.backlog[0])
				c.backlog = c.backlog[1:]
				c.received++
				c.inFlight++
				takes := w.service * time.Duration(90+len(w.waits)*37%21) / 100
				if w.even {
					takes = w.service
				}
				takes += time.Duration(w.hang) * time.Hour
				w.running = append(w.running, running{i, w.now + max(takes, time.Millisecond)})
				changed = true
			}
		}
		if changed || w.next > 0 && w.now >= w.next || w.now == 0 {
			w.step()
		}
		w.busyTime += time.Duration(len(w.running)) * time.Millisecond
		inFlight := 0
		for _, c := range w.conns {
			inFlight += c.inFlight
		}
		w.most = max(w.most, inFlight)
	}
}

func (w *turnsWorld) step() {
	list := make([]flow.TurnConn[int], len(w.conns))
	for i, c := range w.conns {
		held := max(c.quota, c.inFlight)
		if w.now < c.lowered+2*w.rtt {
			held = max(held, 1)
		}
		list[i] = flow.TurnConn[int]{Key: i, Received: c.received, Held: held, InFlight: c.inFlight, RTT: w.rtt}
	}
	quotas, next := w.turns.Step(w.now, list, flow.TurnLimits{Slots: w.slots, Open: len(w.running) == 0, Patience: time.Second})
	for i, n := range quotas {
		if n != w.conns[i].quota {
			w.rdys++
			if n < w.conns[i].quota {
				w.lowered(i)
			}
			w.conns[i].quota = n
		}
	}
	if w.next = 0; next > 0 {
		w.next = w.now + next
	}
}

func (w *turnsWorld) lowered(i int) { w.conns[i].lowered = w.now }

func (w *turnsWorld) utilisation() float64 {
	return float64(w.busyTime) / float64(w.now-w.start) / float64(w.slots)
}

func mean(waits []time.Duration) (m time.Duration) {
	for _, w := range waits {
		m += w / time.Duration(len(waits))
	}
	return m
}

// TestTurnsBacklog: workers are busy and no nsqd starves, however long handlers take.
func TestTurnsBacklog(t *testing.T) {
	for _, service := range []time.Duration{20 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second} {
		for _, conns := range []int{3, 20, 50} {
			for _, slots := range []int{1, 2, 4, 16} {
				w := newTurnsWorld(conns, slots, service)
				for i := range conns {
					w.publish(i, 100_000/conns)
				}
				w.run(60*max(service, 100*time.Millisecond)*time.Duration(conns)/20, nil)
				least, most := w.conns[0].received, uint64(0)
				for _, c := range w.conns {
					least, most = min(least, c.received), max(most, c.received)
				}
				if u := w.utilisation(); u < 0.95 {
					t.Errorf("%v × %d nsqds, %d slots: utilisation %.3f", service, conns, slots, u)
				}
				if w.most > slots {
					t.Errorf("%v × %d nsqds, %d slots: %d in flight", service, conns, slots, w.most)
				}
				if turn := max(1, 100*time.Millisecond/service); float64(least) < 0.8*float64(most)-float64(turn) {
					t.Errorf("%v × %d nsqds, %d slots: %d to %d messages an nsqd", service, conns, slots, least, most)
				}
			}
		}
	}
}

// TestTurnsSlowHandlers: with more slots than connections, a connection gets more slots while it has
// messages in flight, one of which may hang; the others do not keep slots from it.
func TestTurnsSlowHandlers(t *testing.T) {
	for _, tt := range []struct{ conns, slots, busy int }{{2, 16, 2}, {4, 6, 1}, {4, 6, 3}, {11, 34, 11}, {11, 34, 2}, {3, 4, 3}} {
		for _, hung := range []bool{false, true} {
			w := newTurnsWorld(tt.conns, tt.slots, 3*time.Second)
			if hung {
				w.hang = 1
				for i := range tt.busy {
					w.publish(i, 1)
				}
				w.run(2*time.Second, nil)
				w.hang, w.busyTime, w.start = 0, 0, w.now
			}
			for i := range tt.busy {
				w.publish(i, 10_000)
			}
			w.run(time.Minute, nil)
			if u := w.utilisation(); u < 0.95 {
				t.Errorf("%+v, hung %v: utilisation %.3f", tt, hung, u)
			}
		}
	}
}

// TestTurnsTogether: handlers that end at the same instant leave all slots free. Quiet nsqds do not
// take them from those that have messages.
func TestTurnsTogether(t *testing.T) {
	for _, tt := range []struct {
		conns, slots, busy int
		service            time.Duration
	}{{9, 7, 2, 2174 * time.Millisecond}, {20, 8, 1, 5 * time.Second}, {20, 8, 5, time.Second}, {50, 16, 3, 300 * time.Millisecond}} {
		w := newTurnsWorld(tt.conns, tt.slots, tt.service)
		w.even = true
		for i := range tt.busy {
			w.publish(i, 10_000)
		}
		w.run(3*time.Minute, nil)
		if u := w.utilisation(); u < 0.95 {
			t.Errorf("%+v: utilisation %.3f", tt, u)
		}
	}
}

// TestTurnsStrict: nsqds may never use more than there are slots, and Step comes to an end: at one
// instant it changes quotas a few times only.
func TestTurnsStrict(t *testing.T) {
	for _, tt := range []struct{ conns, slots int }{{5, 1}, {5, 2}, {5, 4}, {5, 7}, {20, 4}, {20, 16}, {20, 30}} {
		w := newTurnsWorld(tt.conns, tt.slots, 7*time.Millisecond)
		r := rand.New(rand.NewPCG(1, 2))
		w.run(time.Minute, func() {
			if r.IntN(500) == 0 {
				w.publish(r.IntN(tt.conns), 1+r.IntN(100))
			}
			used := 0
			for _, c := range w.conns {
				used += max(c.quota, c.inFlight)
			}
			if used > tt.slots && !w.turns.Open() {
				t.Fatalf("%+v: %d in use at %v", tt, used, w.now)
			}
			if r.IntN(50) == 0 {
				before := w.rdys
				for range 50 {
					w.step()
				}
				if n := w.rdys - before; n > 4*tt.conns {
					t.Fatalf("%+v: %d RDYs at %v", tt, n, w.now)
				}
			}
		})
	}
}

// TestTurnsOneBusy: silent nsqds cost a busy one 3 % of the time.
func TestTurnsOneBusy(t *testing.T) {
	for _, service := range []time.Duration{2 * time.Millisecond, 50 * time.Millisecond, time.Second} {
		w := newTurnsWorld(50, 1, service)
		w.publish(17, 100_000)
		w.run(time.Minute, nil)
		if u := w.utilisation(); u < 0.93 {
			t.Errorf("%v: utilisation %.3f", service, u)
		}
	}
}

// TestTurnsQuiet: a message to any of many quiet nsqds starts within a fraction of the patience.
func TestTurnsQuiet(t *testing.T) {
	w := newTurnsWorld(50, 2, time.Second)
	n := 0
	w.run(time.Hour, func() {
		if w.now%(7*time.Second) == 0 {
			w.publish(n*13%50, 1)
			n++
		}
	})
	if m := mean(w.waits); len(w.waits) < n-1 || m > 40*time.Millisecond {
		t.Errorf("mean wait %v of %d messages, want at most 40 ms", m, len(w.waits))
	}
	if perHour := w.rdys; perHour > 250_000 {
		t.Errorf("%d RDYs in an hour", perHour)
	}
	t.Logf("mean wait %v, longest %v, %d RDYs in an hour of %d messages", mean(w.waits), slices.Max(w.waits), w.rdys, n)
}

// TestTurnsIdle: an idle hour costs nothing.
func TestTurnsIdle(t *testing.T) {
	w := newTurnsWorld(50, 2, time.Second)
	w.run(time.Minute, nil)
	before := w.rdys
	w.run(time.Hour, nil)
	if w.rdys != before || !w.turns.Open() {
		t.Errorf("%d RDYs in an idle hour, open %v", w.rdys-before, w.turns.Open())
	}
}

// TestTurnsNoPast: what a connection was charged long ago, or in the other class, does not delay it.
func TestTurnsNoPast(t *testing.T) {
	t.Run("one that was busy alone", func(t *testing.T) {
		w := newTurnsWorld(3, 1, 20*time.Millisecond)
		w.publish(0, 100_000)
		w.run(3*time.Minute, nil)
		w.publish(1, 100_000)
		a, b := w.conns[0].received, w.conns[1].received
		w.run(time.Minute, nil)
		a, b = w.conns[0].received-a, w.conns[1].received-b
		if a < 1300 || b < 1300 {
			t.Errorf("%d and %d messages in the first minute of the second nsqd, want half of 2900 each", a, b)
		}
	})
	for _, slots := range []int{1, 2} {
		t.Run(fmt.Sprintf("one that had a gap, %d slots", slots), func(t *testing.T) {
			w := newTurnsWorld(3, slots, 20*time.Millisecond)
			w.publish(1, 100_000)
			w.run(3*time.Minute, func() {
				if len(w.conns[0].backlog) < 10 {
					w.publish(0, 10)
				}
			})
			w.conns[0].backlog = nil
			w.run(time.Second, nil)
			w.publish(0, 1000)
			w.run(time.Minute, nil)
			if left := len(w.conns[0].backlog); left > 0 {
				t.Errorf("%d of 1000 messages are left a minute after the gap", left)
			}
		})
	}
}

// TestTurnsFewerSlots: a slot that is lost ends one turn, although nsqd obeys late; and connections
// that come with quotas keep them as far as there are slots.
func TestTurnsFewerSlots(t *testing.T) {
	var turns flow.Turns[int]
	const n, rtt = 20, 50 * time.Millisecond
	quotas, lowered := slices.Repeat([]int{1}, n), slices.Repeat([]time.Duration{-time.Hour}, n)
	step := func(now time.Duration, slots int) (open int) {
		list := make([]flow.TurnConn[int], n)
		for i := range list {
			list[i] = flow.TurnConn[int]{Key: i, Held: quotas[i], RTT: rtt}
			if now < lowered[i]+2*rtt {
				list[i].Held = 1
			}
		}
		next, _ := turns.Step(now, list, flow.TurnLimits{Slots: slots, Patience: time.Second})
		for i, q := range next {
			if q < quotas[i] {
				lowered[i] = now
			}
			quotas[i] = q
			open += q
		}
		return open
	}
	for i, slots := range []int{19, 18, 18, 18, 10, 10, 10, 9, 9, 9, 9} {
		if open := step(time.Duration(i)*time.Millisecond, slots); open != slots {
			t.Errorf("step %d: %d turns with %d slots", i, open, slots)
		}
	}
}
