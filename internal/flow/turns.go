package flow

import "time"

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
// slots are left and it uses them; the others none.
//
// A turn ends, if others wait for the slot, after 100 ms if it brings messages, or after two round
// trips and 3 ms if it does not; a message in flight keeps its slot until it is answered. The
// connection that was charged least for its turns is next. Connections whose last turn was empty get
// 3 % of the time while others use all they have.
//
// While no turn brings a message, empty turns become longer, up to the length with which each
// connection is asked once in half the patience. After a whole round without a message the turns may
// be open: every connection has one.
//
// Instants are durations since any fixed instant. The zero value is ready to use.
type Turns[K comparable] struct {
	conns  map[K]*turn
	seen   int // empty turns since the last message
	rounds int // whole rounds among seen; each doubles the empty turn
	open   bool
	busy   time.Duration // charged to connections whose last turn brought messages
	quiet  time.Duration // charged to the others
}

// turn is the state of one connection.
type turn struct {
	on       bool
	began    time.Duration
	received uint64 // when the turn began
	brought  bool   // the turn, or if it is not on the last one, brought a message
	charged  time.Duration
	counted  time.Duration // charged covers the time up to here
	quota    int           // of the last Step
}

// TurnConn is what Step needs to know of a connection.
type TurnConn[K comparable] struct {
	Key      K
	Received uint64 // messages, ever
	Held     int    // most that nsqd may be using now
	InFlight int    // received and not answered
	RTT      time.Duration
}

// TurnLimits are the limits of a Step.
type TurnLimits struct {
	Slots    int           // messages that may be in flight
	Open     bool          // the turns may be open: all workers are free
	Patience time.Duration // how long a message may wait for a worker
}

// Step ends turns and begins others. It returns the quota of each connection, and when to call Step
// again: 0 if only after a message, or with the next tick.
func (t *Turns[K]) Step(now time.Duration, conns []TurnConn[K], limits TurnLimits) (quotas []int, next time.Duration) {
	t.sync(now, conns)
	if t.open && !limits.Open {
		t.close(now, conns)
	}
	empty := t.emptyTime(len(conns), limits)
	wanted, starved := t.wanted(conns)
	for _, c := range conns {
		s := t.conns[c.Key]
		t.charge(s, now, c.Held)
		if s.on && !t.open && (wanted || starved) {
			t.endTurn(s, now, c, empty)
		}
	}
	if t.open = limits.Open && (t.open || t.seen >= len(conns)); t.open {
		return t.openAll(now, conns), 0
	}
	free := t.shrink(conns, limits.Slots)
	for ; free > 0; free-- {
		i := t.choose(conns, starved)
		if i < 0 {
			break
		}
		t.begin(conns[i], now)
	}
	quotas = t.distribute(conns, limits.Slots)
	for i, c := range conns {
		s := t.conns[c.Key]
		s.quota = quotas[i]
		switch {
		case !s.on && c.Held > 0 && c.InFlight == 0: // nsqd may still act on the turn that has ended
			next = earlier(next, max(2*c.RTT, time.Millisecond))
		case s.on && (wanted || starved):
			end := busyTurn
			if c.Received == s.received {
				end = empty + 2*c.RTT
			}
			if left := s.began + end - now; left > 0 || c.Received == s.received {
				next = earlier(next, max(left, time.Millisecond))
			}
		}
	}
	return quotas, next
}

// wanted reports whether a connection waits for a turn, and whether one with a turn uses all it has.
func (t *Turns[K]) wanted(conns []TurnConn[K]) (wanted, starved bool) {
	for _, c := range conns {
		s := t.conns[c.Key]
		wanted = wanted || !s.on && c.Held == 0
		starved = starved || s.starved(c.InFlight)
	}
	return wanted, starved
}

// starved reports whether a connection with a turn uses all it has.
func (s *turn) starved(inFlight int) bool { return s.on && inFlight >= max(s.quota, 1) }

// openAll gives every connection a turn.
func (t *Turns[K]) openAll(now time.Duration, conns []TurnConn[K]) []int {
	quotas := make([]int, len(conns))
	for i, c := range conns {
		t.begin(c, now)
		s := t.conns[c.Key]
		s.received, s.quota = c.Received, 1
		quotas[i] = 1
	}
	return quotas
}

// shrink ends turns for which there are no slots any more, and returns how many slots are free for
// further turns.
func (t *Turns[K]) shrink(conns []TurnConn[K], slots int) (free int) {
	free, over := slots, -slots
	for _, c := range conns {
		switch s := t.conns[c.Key]; {
		case s.on:
			free -= max(c.InFlight, 1)
			over += max(c.InFlight, 1)
		case c.Held > 0:
			free -= c.Held
			over += c.InFlight // without messages it ends by itself
		}
	}
	for i := 0; over > 0 && i < len(conns); i++ {
		if s := t.conns[conns[i].Key]; s.on && (conns[i].InFlight == 0 || slots <= 0) {
			s.on = false
			over--
		}
	}
	return free
}

// distribute returns the quotas: one for each turn, or what the connection uses and one more, and
// what is left to those that use all they have. A quota rises only as far as the others obey theirs.
func (t *Turns[K]) distribute(conns []TurnConn[K], slots int) []int {
	quotas := make([]int, len(conns))
	left, free := slots, slots
	var starved []int
	for i, c := range conns {
		s := t.conns[c.Key]
		free -= c.Held
		if !s.on {
			left -= c.Held
			continue
		}
		quotas[i] = 1
		if s.starved(c.InFlight) {
			starved = append(starved, i)
		} else {
			quotas[i] = max(min(c.InFlight+1, s.quota), 1)
		}
		left -= quotas[i]
	}
	for k, i := range starved {
		more := max(left, 0) / (len(starved) - k)
		quotas[i] += more
		left -= more
	}
	for i, c := range conns {
		if more := quotas[i] - max(c.Held, 1); more > 0 && c.Held > 0 {
			more = min(more, max(free, 0))
			free -= more
			quotas[i] = max(c.Held, 1) + more
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
	known := make(map[K]*turn, len(conns))
	for _, c := range conns {
		if s := t.conns[c.Key]; s != nil {
			known[c.Key] = s
		}
	}
	t.conns = known
	least := t.least(true)
	for _, c := range conns {
		s := known[c.Key]
		if s == nil { // nobody knows whether it has messages, so it is asked soon
			s = &turn{on: c.Held > 0, brought: true, began: now, charged: least, received: c.Received, counted: now}
			known[c.Key] = s
		}
		if c.Received != s.received && (s.on || !s.brought) {
			t.class(s, true)
			t.seen, t.rounds = 0, 0
		}
	}
}

// least returns what was charged least to a connection of a class.
func (t *Turns[K]) least(brought bool) (least time.Duration) {
	first := true
	for _, s := range t.conns {
		if s.brought == brought && (first || s.charged < least) {
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

// charge adds what slots were used for since the last call.
func (t *Turns[K]) charge(s *turn, now time.Duration, held int) {
	used := (now - s.counted) * time.Duration(max(held, 1))
	s.counted = now
	if used <= 0 || t.open || !s.on && held == 0 {
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

// endTurn ends a turn whose time is over.
func (t *Turns[K]) endTurn(s *turn, now time.Duration, c TurnConn[K], empty time.Duration) {
	lasted := now - s.began
	switch {
	case c.Received != s.received:
		s.on = lasted < busyTurn
	case lasted >= empty+2*c.RTT:
		s.on = false
		t.class(s, false)
		t.seen++
	}
}

// close ends the open turns.
func (t *Turns[K]) close(now time.Duration, conns []TurnConn[K]) {
	t.open = false
	for _, c := range conns {
		s := t.conns[c.Key]
		s.on = false // a message in flight keeps its slot
		s.counted = now
	}
}

// begin begins a turn, unless it is on.
func (t *Turns[K]) begin(c TurnConn[K], now time.Duration) {
	s := t.conns[c.Key]
	if s.on {
		return
	}
	s.on, s.began, s.counted, s.received, s.quota = true, now, now, c.Received, 1
}

// choose returns the connection whose turn is next; -1 if there is none. starved: a connection uses
// all it has, so a slot is not to be spent on quiet ones beyond their part.
func (t *Turns[K]) choose(conns []TurnConn[K], starved bool) int {
	best := [2]int{-1, -1} // of those whose last turn was empty; of the others
	for i, c := range conns {
		s := t.conns[c.Key]
		if s.on || c.Held > 0 {
			continue
		}
		class := 0
		if s.brought {
			class = 1
		}
		if b := best[class]; b < 0 || s.charged < t.conns[conns[b].Key].charged {
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
