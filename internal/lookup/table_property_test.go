package lookup_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/nsqx/nsqx/internal/lookup"
)

// event is a poll in the history of the model.
type event struct {
	source   int
	extent   lookup.Extent
	accepted []string // found, and in the table afterwards
}

// model keeps the whole history and derives each result from it.
type model struct {
	limit   int
	static  []string
	history []event
	since   map[string]int // discovered addresses; the event that added each
}

func (m *model) known(addr string) bool {
	_, discovered := m.since[addr]
	return discovered || slices.Contains(m.static, addr)
}

// before returns the last poll of source that was not Unknown or found addr.
func (m *model) before(source int, addr string) (event, bool) {
	for _, e := range slices.Backward(m.history) {
		if e.source == source && (e.extent != lookup.Unknown || slices.Contains(e.accepted, addr)) {
			return e, true
		}
	}
	return event{}, false
}

// missing returns for how many polls in a row every source that has reported addr has missed it, at
// least. gone reports whether all of them do not have it any more.
func (m *model) missing(addr string) (least int, gone bool) {
	least, gone = math.MaxInt, true
	for source := range 4 {
		reported, polls, complete := false, 0, 0
		for _, e := range m.history[m.since[addr]:] {
			switch {
			case e.source != source:
			case slices.Contains(e.accepted, addr):
				reported, polls, complete = true, 0, 0
			case e.extent == lookup.Complete:
				polls++
				complete++
			case e.extent == lookup.Partial:
				polls++
			}
		}
		if reported {
			least, gone = min(least, polls), gone && (complete >= 3 || polls >= 30)
		}
	}
	return least, gone
}

// longest returns the address that is missing for longest, if that is at least three polls.
func (m *model) longest() (longest string, ok bool) {
	most := 2
	for _, addr := range slices.Sorted(maps.Keys(m.since)) {
		if n, _ := m.missing(addr); n > most {
			longest, most, ok = addr, n, true
		}
	}
	return longest, ok
}

func (m *model) poll(source int, found []string, extent lookup.Extent) lookup.Changes {
	var c lookup.Changes
	var distinct, fresh []string
	e := event{source: source, extent: extent}
	for _, addr := range found {
		if slices.Contains(distinct, addr) {
			continue
		}
		distinct = append(distinct, addr)
		if !m.known(addr) {
			fresh = append(fresh, addr)
			continue
		}
		if before, any := m.before(source, addr); any && !slices.Contains(before.accepted, addr) {
			c.Returned = append(c.Returned, addr)
		}
		e.accepted = append(e.accepted, addr)
	}
	m.history = append(m.history, e)
	for addr := range m.since {
		if _, gone := m.missing(addr); gone && extent != lookup.Unknown {
			c.Forgotten = append(c.Forgotten, addr)
		}
	}
	for _, addr := range c.Forgotten {
		delete(m.since, addr)
	}
	for _, addr := range fresh {
		if len(m.since) >= m.limit {
			old, ok := m.longest()
			if !ok {
				c.Refused++
				continue
			}
			delete(m.since, old)
			c.Forgotten = append(c.Forgotten, old)
		}
		last := len(m.history) - 1
		m.since[addr] = last
		m.history[last].accepted = append(m.history[last].accepted, addr)
		c.Added = append(c.Added, addr)
	}
	slices.Sort(c.Forgotten)
	return c
}

func (m *model) wanted() []string {
	wanted := slices.Clone(m.static)
	for addr := range m.since {
		wanted = append(wanted, addr)
	}
	slices.Sort(wanted)
	return wanted
}

func TestTableProperties(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	all := words("a:1 b:1 c:1 d:1 [::1]:1 unix:///run/nsqd")
	var kinds lookup.Changes
	for range 3000 {
		sources, density, complete := 1+random.IntN(4), random.Float64(), random.IntN(2) == 0
		m := &model{limit: random.IntN(6), since: make(map[string]int)}
		table := lookup.NewTable(m.limit)
		if random.IntN(2) == 0 {
			m.static = []string{all[random.IntN(len(all))]}
			table.Static(m.static...)
		}
		wanted := m.wanted()
		for step := range 60 {
			var found []string
			for _, i := range random.Perm(2 * len(all)) {
				if random.Float64() < density/2 {
					found = append(found, all[i/2])
				}
			}
			source, extent := random.IntN(sources), lookup.Extent(random.IntN(3))
			if complete && extent == lookup.Partial {
				extent = lookup.Complete
			}
			got, want := table.Poll(source, found, extent), m.poll(source, found, extent)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("step %d, source %d found %q, extent %d: %+v, want %+v; history %+v", step, source, found, extent, got, want, m.history)
			}
			if wanted = follow(wanted, got); !slices.Equal(wanted, m.wanted()) || len(m.since) > m.limit {
				t.Fatalf("step %d: wanted %q, %d discovered, want %q", step, wanted, len(m.since), m.wanted())
			}
			kinds.Returned, kinds.Forgotten = append(kinds.Returned, got.Returned...), append(kinds.Forgotten, got.Forgotten...)
			kinds.Refused += got.Refused
		}
	}
	if len(kinds.Returned) < 1000 || len(kinds.Forgotten) < 1000 || kinds.Refused < 1000 {
		t.Errorf("%d returned, %d forgotten, %d refused: want at least 1000 of each", len(kinds.Returned), len(kinds.Forgotten), kinds.Refused)
	}
}
