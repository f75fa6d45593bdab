package lookup

import (
	"maps"
	"slices"
)

// forgetAfter is the number of successful polls in a row without an address after which it is
// forgotten. nsqlookupd forgets an nsqd when their connection ends, and after a restart knows no
// nsqd until it pings.
const forgetAfter = 3

// Table holds the addresses to connect to, given static ones and the polls of several sources. It
// does no I/O, has no clock, and is not safe for concurrent use. It compares addresses in canonical
// form: "[::0:1]:4150" equals "[::1]:4150".
type Table struct {
	limit      int
	entries    map[string]*entry // by key
	polled     map[int]bool      // sources with a successful poll
	discovered int               // entries that are not static
}

type entry struct {
	addr   string // as given to Static; otherwise in canonical form
	static bool
	missed map[int]int // for each source that has reported it, successful polls in a row without it
}

// Changes are the changes of a poll. An address is in at most one of the lists, and at most once.
type Changes struct {
	Added     []string // new: dial
	Returned  []string // known, but missing from the source's previous poll: if down, dial without backoff
	Forgotten []string // do not dial again; keep a working connection until it ends
	Refused   int      // new addresses beyond the limit
}

// NewTable returns a table of at most limit discovered addresses. Static ones do not count.
func NewTable(limit int) *Table {
	return &Table{limit: limit, entries: make(map[string]*entry), polled: make(map[int]bool)}
}

// Static adds addresses that are never forgotten. It returns the new ones.
func (t *Table) Static(addrs ...string) (added []string) {
	for _, addr := range addrs {
		e := t.entries[key(addr)]
		switch {
		case e == nil:
			t.entries[key(addr)] = &entry{addr: addr, static: true, missed: make(map[int]int)}
			added = append(added, addr)
		case !e.static:
			e.static = true
			t.discovered--
		}
	}
	return added
}

// Poll adds the addresses that a source has found. ok reports whether the poll succeeded: a failed
// poll adds addresses, too, but forgets none. An address is forgotten when it is missing from three
// successful polls in a row of every source that has reported it. At the limit, Poll refuses new
// addresses until others are forgotten.
func (t *Table) Poll(source int, found []string, ok bool) Changes {
	var c Changes
	here := make(map[string]bool, len(found)) // by key
	var fresh []string
	for _, addr := range found {
		k := key(addr)
		if here[k] {
			continue
		}
		here[k] = true
		e := t.entries[k]
		if e == nil {
			fresh = append(fresh, k)
			continue
		}
		if t.hasReturned(e, source) {
			c.Returned = append(c.Returned, e.addr)
		}
		e.missed[source] = 0
	}
	if ok {
		c.Forgotten = t.miss(source, here)
		t.polled[source] = true
	}
	for _, addr := range fresh { // after miss, which makes room
		if t.discovered >= t.limit {
			c.Refused++
			continue
		}
		t.discovered++
		t.entries[addr] = &entry{addr: addr, missed: map[int]int{source: 0}}
		c.Added = append(c.Added, addr)
	}
	return c
}

// Named returns the number of addresses, static ones included, that are static or were found by the
// last poll of a source. A poll that failed leaves that of a source as it was.
func (t *Table) Named() (n int) {
	for _, e := range t.entries {
		if e.static || len(e.missed) > 0 && slices.Min(slices.Collect(maps.Values(e.missed))) == 0 {
			n++
		}
	}
	return n
}

// hasReturned reports whether e was missing from the last poll of source. The first poll of a
// source returns nothing.
func (t *Table) hasReturned(e *entry, source int) bool {
	missed, reported := e.missed[source]
	return missed > 0 || !reported && t.polled[source]
}

// miss counts a successful poll of source for each address missing from it, and forgets addresses.
func (t *Table) miss(source int, here map[string]bool) (forgotten []string) {
	for k, e := range t.entries {
		missed, reported := e.missed[source]
		if here[k] || !reported {
			continue
		}
		e.missed[source] = min(missed+1, forgetAfter)
		if e.static || slices.Min(slices.Collect(maps.Values(e.missed))) < forgetAfter {
			continue
		}
		delete(t.entries, k)
		t.discovered--
		forgotten = append(forgotten, e.addr)
	}
	slices.Sort(forgotten)
	return forgotten
}
