package flow

import (
	"cmp"
	"slices"
	"time"
)

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
		i := t.choose(conns, starved, room > 0, slots < len(conns))
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

// choose returns the connection that is next: one without a turn, or one whose turn is over; -1 if
// there is none. starved: a connection uses all it has, so a slot is not to be spent on quiet ones
// beyond their part, and on one of them at a time: several would take all slots from those that use
// them where all messages are answered at once. few: there are fewer slots than connections.
func (t *Turns[K]) choose(conns []TurnConn[K], starved, room, few bool) int {
	best := [2]int{-1, -1} // of those whose last turn was empty; of the others
	asked := false         // one of those waits for its slot
	for i, c := range conns {
		s := t.turns[i]
		asked = asked || s.pending && !s.brought
		if !s.over && !(s.free(c.settled(), c.InFlight, few) && (c.InFlight == 0 || room || t.giver(conns, c.InFlight) >= 0)) {
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
	due := !asked && float64(t.quiet) < quietPart*float64(t.busy+t.quiet)
	if quiet >= 0 && (due || busy < 0 && !starved) {
		return quiet
	}
	return busy
}
