package lookup

import (
	"maps"
	"slices"
)

// forgetAfter is how many successful polls in a row an address has to be missing from. nsqlookupd forgets an nsqd the moment its
// connection ends, and knows nothing after a restart until the nsqds ping it.
const forgetAfter = 3

// Table keeps which addresses are wanted, given static ones and the polls of several sources. It does no I/O, has no clock, and is
// not safe for concurrent use. Addresses that differ only in how they are written, as "[::0:1]:4150" and "[::1]:4150", are one.
type Table struct {
	most       int
	entries    map[string]*entry // by key
	polled     map[int]bool      // sources with a successful poll
	discovered int               // entries that are not static
}

type entry struct {
	addr   string // as Static got it; what is discovered has its canonical form
	static bool
	missed map[int]int // of the sources that reported it, how many successful polls in a row since were without it
}

// Changes is what a poll changes. Each address is in one of the lists at most, and once.
type Changes struct {
	Added     []string // dial
	Anew      []string // known, but missing from the poll before of this source: dial at once if it is down, whatever its backoff
	Forgotten []string // dial no more; a connection that works is to be kept until it ends
	Refused   int      // addresses for which there is no room
}

// NewTable makes a table of at most so many discovered addresses; static ones do not count.
func NewTable(most int) *Table {
	return &Table{most: most, entries: make(map[string]*entry), polled: make(map[int]bool)}
}

// Static adds addresses that are never forgotten. It returns those that were not known.
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

// Poll takes what a source has found. ok is whether it has answered: a failed poll counts for nothing, but what is found
// beside the failure is taken. An address is forgotten when each source that has reported it was without it three successful
// polls in a row. If there is no room the first to come are served; there is room again when an address is forgotten.
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
		if t.isAnew(e, source) {
			c.Anew = append(c.Anew, e.addr)
		}
		e.missed[source] = 0
	}
	if ok {
		c.Forgotten = t.miss(source, here)
		t.polled[source] = true
	}
	for _, addr := range fresh { // after the forgetting, which makes room
		if t.discovered >= t.most {
			c.Refused++
			continue
		}
		t.discovered++
		t.entries[addr] = &entry{addr: addr, missed: map[int]int{source: 0}}
		c.Added = append(c.Added, addr)
	}
	return c
}

// isAnew reports whether the last poll of source was without e. A source that is asked for the first time says nothing new.
func (t *Table) isAnew(e *entry, source int) bool {
	missed, reported := e.missed[source]
	return missed > 0 || !reported && t.polled[source]
}

// miss counts a successful poll of source for all that it was without, and forgets.
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
