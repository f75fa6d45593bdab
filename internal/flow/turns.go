package flow

import (
	"cmp"
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
// answered, whether or not its connection has a turn.
//
// A turn ends after two round trips and 3 ms if it brings no message and its connection is not probed. If it brings messages, it ends
// after 100 ms if another connection is next: then it loses a slot, and goes on if it has more. The
// connection that was charged least for its turns is next. Connections whose last turn was empty get
// 3 % of the time while others use all they have.
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

// starved reports whether a connection with a turn uses all it has.
func (s *turn) starved(inFlight int) bool { return s.on && !s.pending && inFlight >= max(s.quota, 1) }

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

// shrink ends turns for which there are no slots any more, those without messages first.
func (t *Turns[K]) shrink(conns []TurnConn[K], slots int) {
	turns, used := 0, 0
	for i, c := range conns {
		s := t.turns[i]
		if s.on {
			turns++
		}
		if used += c.InFlight; s.on && !s.pending && c.InFlight == 0 {
			used++
		}
	}
	for i := 0; used > slots && i < len(conns); i++ {
		if s := t.turns[i]; s.on && conns[i].InFlight == 0 {
			if !s.pending {
				used--
			}
			s.on, s.pending = false, false
			turns--
		}
	}
	for _, pending := range []bool{true, false} {
		for i := 0; turns > slots && i < len(conns); i++ {
			if s := t.turns[i]; s.on && s.pending == pending {
				s.on, s.pending = false, false
				turns--
			}
		}
	}
}

// pass begins turns while slots are left, and passes on those of turns that are over.
func (t *Turns[K]) pass(now time.Duration, conns []TurnConn[K], slots int, starved bool) {
	room := slots
	for i, c := range conns {
		room -= t.turns[i].claim(c.InFlight)
	}
	for slots > 0 {
		i := t.choose(conns, starved, room > 0)
		if i < 0 {
			return
		}
		c, s := conns[i], t.turns[i]
		switch from := t.giver(conns, c.InFlight); {
		case s.on: // nobody else is next
			s.renew(now, c.Received)
			continue
		case room > 0:
			room--
		case from < 0:
			return
		default:
			giver := t.turns[from]
			giver.over, giver.aim = false, min(giver.aim, giver.claim(conns[from].InFlight))-1
			giver.on = giver.aim > 0
		}
		s.begin(now, c.Received, c.InFlight)
	}
}

// giver returns the connection that loses a slot to one with that many messages in flight: its turn is
// over, it uses more slots, and it was charged most. It returns -1 if there is none.
func (t *Turns[K]) giver(conns []TurnConn[K], inFlight int) int {
	most := -1
	for i, s := range t.turns {
		if s.over && s.claim(conns[i].InFlight) > inFlight && (most < 0 || s.charged > t.turns[most].charged) {
			most = i
		}
	}
	return most
}

// quotas returns the quotas: what turns claim, and what is left to those that use all they have. A
// quota rises only as far as nsqds obey the others. Where slots are not short it falls by one message
// at a time below those in flight, since a slot is of use to the next connection only when its
// message is answered.
func (t *Turns[K]) quotas(now time.Duration, conns []TurnConn[K], slots int) []int {
	quotas := make([]int, len(conns))
	free, left := slots, slots
	var starved []int
	order := make([]int, len(conns))
	for i, c := range conns {
		s := t.turns[i]
		order[i] = i
		free -= c.Held
		switch {
		case !s.on:
			left -= c.InFlight
			continue
		case s.starved(c.InFlight):
			starved = append(starved, i)
			quotas[i] = 1
		default:
			quotas[i] = s.claim(c.InFlight)
		}
		left -= quotas[i]
	}
	slices.SortFunc(starved, func(i, j int) int { // the last ones get the remainder
		return cmp.Compare(t.turns[j].due(), t.turns[i].due())
	})
	for k, i := range starved {
		more := max(left, 0) / (len(starved) - k)
		quotas[i] += more
		left -= more
	}
	for i, s := range t.turns {
		s.aim = quotas[i]
	}
	gentle := free >= 0 && slots > 0
	slices.SortFunc(order, func(i, j int) int { return t.turns[i].before(t.turns[j]) })
	for _, i := range order {
		c := conns[i]
		switch more := quotas[i] - c.Held; {
		case more > 0:
			more = min(more, max(free, 0))
			free -= more
			quotas[i] = c.Held + more
		case more < 0 && gentle:
			quotas[i] = max(quotas[i], c.InFlight-1)
		}
	}
	for i, c := range conns {
		s := t.turns[i]
		s.quota, s.held = quotas[i], max(quotas[i], c.Held)
		if s.pending && s.quota > c.InFlight {
			s.pending, s.began, s.room, s.received = false, now, now, c.Received
		}
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
		t.seen++
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

// begin begins a turn. It waits for its slot if there is none yet.
func (s *turn) begin(now time.Duration, received uint64, inFlight int) {
	s.on, s.pending, s.over, s.began, s.room, s.received, s.aim = true, true, false, now, now, received, inFlight+1
}

// renew lets a turn go on.
func (s *turn) renew(now time.Duration, received uint64) {
	s.over, s.began, s.room, s.received = false, now, now, received
}

// choose returns the connection that is next: one without a turn, or one whose turn is over; -1 if
// there is none. starved: a connection uses all it has, so a slot is not to be spent on quiet ones
// beyond their part.
func (t *Turns[K]) choose(conns []TurnConn[K], starved, room bool) int {
	best := [2]int{-1, -1} // of those whose last turn was empty; of the others
	for i, c := range conns {
		s := t.turns[i]
		if !s.over && (s.on || !c.settled() || !room && c.InFlight > 0 && t.giver(conns, c.InFlight) < 0) {
			continue
		}
		class := 0
		if s.brought {
			class = 1
		}
		if b := best[class]; b < 0 || s.charged < t.turns[b].charged {
			best[class] = i
		}
	}
	quiet, busy := best[0], best[1]
	due := float64(t.quiet) < quietPart*float64(t.busy+t.quiet)
	if quiet >= 0 && (due || busy < 0 && !starved) {
		return quiet
	}
	return busy
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
