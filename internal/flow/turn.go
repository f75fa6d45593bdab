package flow

import (
	"cmp"
	"time"
)

// turn is the state of one connection.
type turn struct {
	on       bool
	pending  bool // it is on, and waits for a slot that another connection loses
	over     bool // it goes on only if no other connection is next
	began    time.Duration
	room     time.Duration // since when nsqd could have sent more
	received uint64        // when the turn began
	brought  bool          // the turn, or if it is not on the last one, brought a message
	charged  time.Duration
	counted  time.Duration // charged covers the time up to here
	aim      int           // what the quota is to be when nsqds obey
	quota    int           // of the last Step
	held     int           // most that nsqd could use since then
}

// starved reports whether a connection with a turn uses all it has.
func (s *turn) starved(inFlight int) bool { return s.on && !s.pending && inFlight >= max(s.quota, 1) }

// free reports whether a connection without a turn may have one. few: there are
// fewer slots than connections, so one that has a message, and brought no other one, is not asked again
// before the rest.
func (s *turn) free(settled bool, inFlight int, few bool) bool {
	return !s.on && settled && (inFlight == 0 || s.brought || !few)
}

// claim returns how many slots a connection keeps from others: the messages in flight, and one more in
// a turn that does not use all it has.
func (s *turn) claim(inFlight int) int {
	switch {
	case !s.on:
		return inFlight
	case s.starved(inFlight):
		return max(inFlight, 1)
	}
	return max(min(inFlight+1, s.aim), 1)
}

// due is lower for a connection that is to have one slot more than others: it was charged less. It does
// not change with each Step.
func (s *turn) due() time.Duration { return s.charged - time.Duration(s.aim)*busyTurn }

// before orders those that get a free slot: who waits for a turn comes first, then who was charged
// least.
func (s *turn) before(other *turn) int {
	if s.pending != other.pending {
		if s.pending {
			return -1
		}
		return 1
	}
	return cmp.Compare(s.charged, other.charged)
}

// least returns what was charged least to a connection of a class.
func (t *Turns[K]) least(brought bool) (least time.Duration) {
	first := true
	for _, s := range t.turns {
		if s != nil && s.brought == brought && (first || s.charged < least) {
			first, least = false, s.charged
		}
	}
	return least
}

// mostQuiet returns what was charged most to a connection whose last turn was empty.
func (t *Turns[K]) mostQuiet() (most time.Duration) {
	for _, s := range t.turns {
		if s != nil && !s.brought {
			most = max(most, s.charged)
		}
	}
	return most
}

// class changes the class of a connection: its past in the other one neither delays nor favours it.
func (t *Turns[K]) class(s *turn, brought bool) {
	if s.brought != brought {
		s.charged = t.least(brought)
		s.brought = brought
	}
}

// charge adds what slots were used for since the last Step.
func (t *Turns[K]) charge(s *turn, now time.Duration) {
	used := (now - s.counted) * time.Duration(s.held)
	s.counted = now
	if t.open {
		return
	}
	s.charged += used
	if s.brought {
		t.busy += used
	} else {
		t.quiet += used
	}
	const memory = 10 * time.Second // older use counts less
	for t.busy+t.quiet > memory {
		t.busy, t.quiet = t.busy/2, t.quiet/2
	}
}

// endTurn ends a turn without messages whose time is over, and notes that one with messages is over.
// wanted: another connection waits for a turn. needed: the slot would be of use.
func (t *Turns[K]) endTurn(s *turn, now time.Duration, c TurnConn[K], wanted, needed bool, empty time.Duration) {
	switch {
	case c.Received != s.received || s.starved(c.InFlight):
		if s.over = now-s.began >= busyTurn; s.over && !wanted {
			s.renew(now, c.Received)
		}
	case needed && !c.Probe && now-s.room >= empty+2*c.RTT:
		s.on = false
		t.class(s, false)
		s.charged = max(s.charged, t.mostQuiet()+1) // the others are asked first
		t.seen++
	}
}

// begin begins a turn. It waits for its slot if there is none yet.
func (s *turn) begin(now time.Duration, received uint64, inFlight int) {
	s.on, s.pending, s.over, s.began, s.room, s.received, s.aim = true, true, false, now, now, received, inFlight+1
}

// renew lets a turn go on.
func (s *turn) renew(now time.Duration, received uint64) {
	s.over, s.began, s.room, s.received = false, now, now, received
}
