package flow

import (
	"slices"
	"time"
)

const (
	// busyTurn is how long a turn lasts that brings messages.
	busyTurn = 100 * time.Millisecond

	// emptyTurn, and two round trips, is how long a turn lasts that brings none.
	emptyTurn = 3 * time.Millisecond

	// quietPart is the part of the time for connections whose last turn was empty, while others
	// bring messages.
	quietPart = 0.03
)

// Turns shares slots, the messages that may be in flight, among connections that would waste them if
// each had a part of its own. A connection with a turn may have one message in flight, or more if
// slots are left and it uses them; the others none. A message in flight keeps its slot until it is
// answered, whether or not its connection has a turn. Its connection may have another turn meanwhile,
// unless connections outnumber the slots and its last turn brought nothing.
//
// A turn ends after two round trips and 3 ms if it brings no message and its connection is not probed.
// If it brings messages, it ends after 100 ms if another connection is next: then it loses a slot, and
// goes on if it has more. The connection that was charged least for its turns is next. While some use
// all they have, those whose last turn was empty get 3 % of the time, and one slot at a time.
//
// While no turn brings a message, empty turns become longer, up to the length with which each
// connection is asked once in half the patience. After a whole round without a message the turns may
// be open: every connection has one.
//
// The sum of what nsqds may be using never exceeds the slots: a connection gets what another one loses
// when nsqd obeys the lower quota.
//
// Instants are durations since any fixed instant. The zero value is ready to use.
type Turns[K comparable] struct {
	conns  map[K]*turn
	turns  []*turn // of the connections of the present Step
	seen   int     // empty turns since the last message
	rounds int     // whole rounds among seen; each doubles the empty turn
	open   bool
	busy   time.Duration // charged to connections whose last turn brought messages
	quiet  time.Duration // charged to the others
}

// TurnConn is what Step needs to know of a connection.
type TurnConn[K comparable] struct {
	Key      K
	Received uint64 // messages, ever
	Held     int    // most that nsqd may be using now
	InFlight int    // received and not answered
	RTT      time.Duration
	Probe    bool // it is probed, or is to be if it brings nothing: see [Drift]
}

// settled reports whether nsqd may use no more than the messages in flight.
func (c TurnConn[K]) settled() bool { return c.Held <= c.InFlight }

// TurnLimits are the limits of a Step.
type TurnLimits struct {
	Slots    int           // messages that may be in flight
	Open     bool          // the turns may be open: all workers are free
	Patience time.Duration // how long a message may wait for a worker
}

// Step ends turns and begins others. It returns the quota of each connection, and when to call Step
// again: 0 if only after a message, when nsqd obeys a lower quota, or with the next tick.
func (t *Turns[K]) Step(now time.Duration, conns []TurnConn[K], limits TurnLimits) (quotas []int, next time.Duration) {
	t.sync(now, conns)
	if t.open && !limits.Open {
		t.close(now, conns)
	}
	empty := t.emptyTime(len(conns), limits)
	wanted, starved := t.wanted(conns)
	for i, c := range conns {
		s := t.turns[i]
		t.charge(s, now)
		if s.starved(c.InFlight) {
			s.room = now
		}
		if s.over = false; s.on && !s.pending && !t.open {
			t.endTurn(s, now, c, wanted, wanted || starved, empty)
		}
	}
	if t.open = limits.Open && (t.open || t.seen >= len(conns)); t.open {
		return t.openAll(now, conns), 0
	}
	t.shrink(conns, limits.Slots)
	t.pass(now, conns, limits.Slots, starved)
	quotas = t.quotas(now, conns, limits.Slots)
	wanted, starved = t.wanted(conns)
	for i, c := range conns {
		s := t.turns[i]
		switch {
		case c.Held > max(quotas[i], c.InFlight): // nsqd may still act on a higher quota
			next = earlier(next, max(2*c.RTT, time.Millisecond))
		case s.on && !s.pending && (wanted || starved):
			left := s.began + busyTurn - now
			if c.Received == s.received && !s.starved(c.InFlight) {
				left = max(s.room+empty+2*c.RTT-now, time.Millisecond)
			}
			if left > 0 {
				next = earlier(next, max(left, time.Millisecond))
			}
		}
	}
	return quotas, next
}

// wanted reports whether a connection waits for a turn, and whether one with a turn uses all it has.
func (t *Turns[K]) wanted(conns []TurnConn[K]) (wanted, starved bool) {
	for i, c := range conns {
		s := t.turns[i]
		wanted = wanted || !s.on && c.settled()
		starved = starved || s.starved(c.InFlight)
	}
	return wanted, starved
}

// openAll gives every connection a turn.
func (t *Turns[K]) openAll(now time.Duration, conns []TurnConn[K]) []int {
	quotas := make([]int, len(conns))
	for i, c := range conns {
		s := t.turns[i]
		if !s.on {
			s.begin(now, c.Received, c.InFlight)
		}
		s.pending, s.received, s.aim, s.quota = false, c.Received, 1, 1
		quotas[i] = 1
	}
	return quotas
}

// Open reports whether every connection has a turn.
func (t *Turns[K]) Open() bool { return t.open }

// Reset forgets all turns: there are slots for all connections.
func (t *Turns[K]) Reset() { *t = Turns[K]{} }

// earlier returns the shorter of two durations, of which 0 means never.
func earlier(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// sync adds new connections, removes those that are gone, and notes messages.
func (t *Turns[K]) sync(now time.Duration, conns []TurnConn[K]) {
	t.turns = t.turns[:0]
	for _, c := range conns {
		t.turns = append(t.turns, t.conns[c.Key])
	}
	if len(conns) != len(t.conns) || slices.Contains(t.turns, nil) {
		known := make(map[K]*turn, len(conns))
		least := t.least(true)
		for i, c := range conns {
			if t.turns[i] == nil { // nobody knows whether it has messages, so it is asked soon
				t.turns[i] = &turn{on: c.Held > 0, brought: true, began: now, room: now, charged: least, received: c.Received, counted: now}
			}
			known[c.Key] = t.turns[i]
		}
		t.conns = known
	}
	for i, c := range conns {
		if s := t.turns[i]; c.Received != s.received && (s.on || !s.brought) {
			t.class(s, true)
			t.seen, t.rounds = 0, 0
		}
	}
}

// close ends the open turns.
func (t *Turns[K]) close(now time.Duration, conns []TurnConn[K]) {
	t.open = false
	for i := range conns {
		s := t.turns[i]
		s.on = false // a message in flight keeps its slot
		s.counted = now
	}
}

// emptyTime returns how long an empty turn lasts, round trips apart. It doubles with each whole round
// without a message.
func (t *Turns[K]) emptyTime(conns int, limits TurnLimits) time.Duration {
	if t.seen >= (t.rounds+1)*conns && t.rounds < 16 {
		t.rounds++
	}
	longest := limits.Patience / 2 * time.Duration(max(limits.Slots, 1)) / time.Duration(max(conns, 1))
	shortest := max(emptyTurn, time.Duration(limits.Slots)*time.Millisecond)
	return max(min(shortest<<t.rounds, longest), emptyTurn)
}
