package lookup

import (
	"math"
	"slices"
)

// forgetAfter is the number of complete polls in a row without an address after which it is
// forgotten. nsqlookupd forgets an nsqd when their connection ends, and after a restart knows no
// nsqd until it pings.
const forgetAfter = 3

// forgetPartial is that number for partial polls, half an hour at the usual interval. A source whose
// polls are never complete must not hold dead addresses for ever.
const forgetPartial = 30

// Table holds the addresses to connect to, given static ones and the polls of several sources. It
// does no I/O, has no clock, and is not safe for concurrent use. It holds and returns addresses in
// canonical form: "[::0:1]:4150" is "[::1]:4150".
type Table struct {
	limit      int
	entries    map[string]*entry // by address
	polled     map[int]bool      // sources with a poll that was not Unknown
	discovered int               // entries that are not static
}

type entry struct {
	static bool
	missed map[int]absence // for each source that has reported it, since then
}

// absence counts the polls in a row without an address.
type absence struct {
	polls    int // complete and partial
	complete int
}

// gone reports whether a source does not have the address any more.
func (a absence) gone() bool { return a.complete >= forgetAfter || a.polls >= forgetPartial }

// waning reports whether the address may give way to one that a source names.
func (a absence) waning() bool { return a.polls >= forgetAfter }

// Changes are the changes of a poll. An address is in at most one of the lists, and at most once.
type Changes struct {
	Added     []string // new: dial
	Returned  []string // known, but missing from the source's previous poll: if down, dial without backoff
	Forgotten []string // do not dial again; keep a working connection until it ends
	Refused   int      // new addresses beyond the limit
}

// Extent is what a poll says of the addresses that it does not name.
type Extent uint8

const (
	Unknown  Extent = iota // nothing: the poll has failed, or comes too soon after another
	Partial                // not much: it has named some, and failed for others
	Complete               // its source does not have them
)

// NewTable returns a table of at most limit discovered addresses. Static ones do not count.
func NewTable(limit int) *Table {
	return &Table{limit: limit, entries: make(map[string]*entry), polled: make(map[int]bool)}
}

// Static adds addresses that are never forgotten. It returns the new ones.
func (t *Table) Static(addrs ...string) (added []string) {
	for _, addr := range addrs {
		addr = Form(addr)
		e := t.entries[addr]
		switch {
		case e == nil:
			t.entries[addr] = &entry{static: true, missed: make(map[int]absence)}
			added = append(added, addr)
		case !e.static:
			e.static = true
			t.discovered--
		}
	}
	return added
}

// Poll adds the addresses that a source has found. An address is forgotten when it is missing from
// three complete polls in a row of every source that has reported it, or from 30 that were complete or
// partial. At the limit, a new address takes the place of the one that is missing for longest, if
// every source has missed it in three such polls; otherwise it is refused.
func (t *Table) Poll(source int, found []string, extent Extent) Changes {
	var c Changes
	here := make(map[string]bool, len(found))
	var fresh []string
	for _, addr := range found {
		addr = Form(addr)
		if here[addr] {
			continue
		}
		here[addr] = true
		e := t.entries[addr]
		if e == nil {
			fresh = append(fresh, addr)
			continue
		}
		if t.hasReturned(e, source) {
			c.Returned = append(c.Returned, addr)
		}
		e.missed[source] = absence{}
	}
	if extent != Unknown {
		c.Forgotten = t.miss(source, here, extent)
		t.polled[source] = true
	}
	for _, addr := range fresh { // after miss, which makes room
		if t.discovered >= t.limit {
			old, found := t.mostMissed()
			if !found {
				c.Refused++
				continue
			}
			t.remove(old)
			c.Forgotten = append(c.Forgotten, old)
		}
		t.discovered++
		t.entries[addr] = &entry{missed: map[int]absence{source: {}}}
		c.Added = append(c.Added, addr)
	}
	slices.Sort(c.Forgotten)
	return c
}

// Named returns the number of addresses, static ones included, that are static or were found by the
// last poll of a source. A poll of extent Unknown leaves that of a source as it was.
func (t *Table) Named() (n int) {
	for _, e := range t.entries {
		if e.static || e.least() == 0 && len(e.missed) > 0 {
			n++
		}
	}
	return n
}

// least returns how many polls of each source that has reported the address have missed it, at
// least.
func (e *entry) least() int {
	least := math.MaxInt
	for _, a := range e.missed {
		least = min(least, a.polls)
	}
	return least
}

// every reports whether f is true for every source that has reported the address.
func (e *entry) every(f func(absence) bool) bool {
	for _, a := range e.missed {
		if !f(a) {
			return false
		}
	}
	return true
}

// hasReturned reports whether e was missing from the last poll of source. The first poll of a
// source returns nothing.
func (t *Table) hasReturned(e *entry, source int) bool {
	missed, reported := e.missed[source]
	return missed.polls > 0 || !reported && t.polled[source]
}

// miss counts a poll of source for each address missing from it, and forgets addresses.
func (t *Table) miss(source int, here map[string]bool, extent Extent) (forgotten []string) {
	for addr, e := range t.entries {
		missed, reported := e.missed[source]
		if here[addr] || !reported {
			continue
		}
		missed.polls++
		if extent == Complete {
			missed.complete++
		}
		e.missed[source] = missed
		if !e.static && e.every(absence.gone) {
			t.remove(addr)
			forgotten = append(forgotten, addr)
		}
	}
	return forgotten
}

// mostMissed returns the address that may give way and has been missing for longest.
func (t *Table) mostMissed() (most string, ok bool) {
	for addr, e := range t.entries {
		if e.static || !e.every(absence.waning) {
			continue
		}
		if n, best := e.least(), t.entries[most]; !ok || n > best.least() || n == best.least() && addr < most {
			most, ok = addr, true
		}
	}
	return most, ok
}

// remove removes an address that is not static.
func (t *Table) remove(addr string) {
	delete(t.entries, addr)
	t.discovered--
}
