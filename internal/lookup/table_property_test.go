package lookup_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/nsqx/nsqx/internal/lookup"
)

// event is a poll in the history of the model.
type event struct {
	source   int
	ok       bool
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

// before returns the last poll of source that succeeded or found addr.
func (m *model) before(source int, addr string) (event, bool) {
	for _, e := range slices.Backward(m.history) {
		if e.source == source && (e.ok || slices.Contains(e.accepted, addr)) {
			return e, true
		}
	}
	return event{}, false
}

// gone reports whether addr is missing from three successful polls in a row of every source that
// has reported it.
func (m *model) gone(addr string) bool {
	for source := range 4 {
		reported, missing := false, 0
		for _, e := range m.history[m.since[addr]:] {
			switch {
			case e.source != source:
			case slices.Contains(e.accepted, addr):
				reported, missing = true, 0
			case e.ok:
				missing++
			}
		}
		if reported && missing < 3 {
			return false
		}
	}
	return true
}

func (m *model) poll(source int, found []string, ok bool) lookup.Changes {
	var c lookup.Changes
	var distinct, fresh []string
	e := event{source: source, ok: ok}
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
		if ok && m.gone(addr) {
			c.Forgotten = append(c.Forgotten, addr)
		}
	}
	slices.Sort(c.Forgotten)
	for _, addr := range c.Forgotten {
		delete(m.since, addr)
	}
	for _, addr := range fresh {
		if len(m.since) >= m.limit {
			c.Refused++
			continue
		}
		last := len(m.history) - 1
		m.since[addr] = last
		m.history[last].accepted = append(m.history[last].accepted, addr)
		c.Added = append(c.Added, addr)
	}
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
		sources, density := 1+random.IntN(4), random.Float64()
		m := &model{limit: random.IntN(6), since: make(map[string]int)}
		table := lookup.NewTable(m.limit)
		if random.IntN(2) == 0 {
			m.static = []string{all[random.IntN(len(all))]}
			table.Static(m.static...)
		}
		wanted := m.wanted()
		for step := range 40 {
			var found []string
			for _, i := range random.Perm(2 * len(all)) {
				if random.Float64() < density/2 {
					found = append(found, all[i/2])
				}
			}
			source, ok := random.IntN(sources), random.IntN(4) > 0
			got, want := table.Poll(source, found, ok), m.poll(source, found, ok)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("step %d, source %d found %q, ok %t: %+v, want %+v; history %+v", step, source, found, ok, got, want, m.history)
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
