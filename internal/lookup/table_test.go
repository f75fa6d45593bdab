package lookup_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nsqx/nsqx/internal/lookup"
)

const plenty = 1000

// poll is one step of a history with its changes: "+a" added, "!a" returned, "-a" forgotten.
type poll struct {
	source int
	found  string
	failed bool
	want   string
}

func words(s string) []string { return strings.Fields(s) }

// extent is that of a poll which has succeeded or not, and has found an address or not.
func extent(ok, found bool) lookup.Extent {
	switch {
	case ok:
		return lookup.Complete
	case found:
		return lookup.Partial
	}
	return lookup.Unknown
}

func changes(c lookup.Changes) string {
	var all []string
	for mark, addrs := range map[string][]string{"+": c.Added, "!": c.Returned, "-": c.Forgotten} {
		for _, addr := range addrs {
			all = append(all, mark+addr)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// follow applies changes to a sorted list.
func follow(wanted []string, c lookup.Changes) []string {
	wanted = slices.DeleteFunc(append(wanted, c.Added...), func(addr string) bool { return slices.Contains(c.Forgotten, addr) })
	slices.Sort(wanted)
	return wanted
}

func TestTable(t *testing.T) {
	for _, tt := range []struct {
		name   string
		static string
		polls  []poll
		wanted string
	}{
		{"nothing", "", []poll{{0, "", false, ""}, {0, "", true, ""}}, ""},
		{"L13: lookupd restarted", "", []poll{{0, "a b", false, "+a +b"}, {0, "", false, ""}, {0, "", false, ""}, {0, "a b", false, "!a !b"}}, "a b"},
		{"forgotten after three", "", []poll{{0, "a b", false, "+a +b"}, {0, "a", false, ""}, {0, "a", false, ""}, {0, "a", false, "-b"}, {0, "a", false, ""}}, "a"},
		{"three in a row", "", []poll{{0, "a", false, "+a"}, {0, "", false, ""}, {0, "", false, ""}, {0, "a", false, "!a"}, {0, "", false, ""}, {0, "", false, ""}}, "a"},
		{"L1, F28: failures do not count", "", []poll{{0, "a", false, "+a"}, {0, "", false, ""}, {0, "", true, ""}, {0, "", true, ""}, {0, "", true, ""},
			{0, "", false, ""}, {0, "", true, ""}, {0, "", false, "-a"}}, ""},
		{"an address missing from a failed poll", "", []poll{{0, "a", false, "+a"}, {0, "", true, ""}, {0, "a", false, ""}}, "a"},
		{"found in a failed poll", "", []poll{{0, "a", true, "+a"}, {0, "a b", true, "+b"}, {0, "a", false, ""}, {0, "b", true, "!b"}, {0, "", true, ""}}, "a b"},
		{"found in a failed poll, missed before", "", []poll{{0, "a", false, "+a"}, {0, "", false, ""}, {0, "", false, ""}, {0, "a", true, "!a"},
			{0, "", false, ""}, {0, "", false, ""}, {0, "", false, "-a"}}, ""},
		{"L11: comes and goes", "", []poll{{0, "a", false, "+a"}, {0, "", false, ""}, {0, "a", false, "!a"}, {0, "", false, ""}, {0, "a", false, "!a"}}, "a"},
		{"F32: moves", "", []poll{{0, "a:1", false, "+a:1"}, {0, "a:2", false, "+a:2"}, {0, "a:2", false, ""}, {0, "a:2", false, "-a:1"}}, "a:2"},
		{"forgotten and back", "", []poll{{0, "a", false, "+a"}, {0, "", false, ""}, {0, "", false, ""}, {0, "", false, "-a"}, {0, "a", false, "+a"}}, "a"},
		{"F31: union", "", []poll{{0, "a b", false, "+a +b"}, {1, "b c", false, "+c"}, {0, "a b", false, ""}, {1, "b c", false, ""}}, "a b c"},
		{"missing from every source", "", []poll{{0, "a", false, "+a"}, {1, "a", false, ""}, {0, "", false, ""}, {0, "", false, ""}, {0, "", false, ""}, {0, "", false, ""},
			{1, "", false, ""}, {1, "", false, ""}, {1, "", false, "-a"}}, ""},
		{"F28: kept while a source is down", "", []poll{{0, "a", false, "+a"}, {1, "a", false, ""}, {0, "", false, ""}, {0, "", false, ""}, {0, "", false, ""},
			{1, "", true, ""}, {1, "", true, ""}, {1, "", true, ""}}, "a"},
		{"missing from a source that never reported it", "", []poll{{0, "a", false, "+a"}, {1, "", false, ""}, {1, "", false, ""}, {1, "", false, ""}, {1, "", false, ""}}, "a"},
		{"first report of another source", "", []poll{{0, "a", false, "+a"}, {1, "", true, ""}, {1, "a", false, ""}}, "a"},
		{"later report of another source", "", []poll{{0, "a", false, "+a"}, {1, "", false, ""}, {1, "a", false, "!a"}, {1, "a", false, ""}}, "a"},
		{"static", "s", []poll{{0, "s a", false, "+a"}, {0, "", false, ""}, {0, "", false, ""}, {0, "", false, "-a"}, {0, "", false, ""}, {0, "s", false, "!s"}}, "s"},
		{"L10, F30: twice", "", []poll{{0, "a:1 a:1 A:1 [::1]:1 [0::1]:1", false, "+[::1]:1 +a:1"}, {0, "A:1 [0:0::1]:01", false, ""}}, "[::1]:1 a:1"},
		{"static, other spelling", "A:01 unix:///run/nsqd", []poll{{0, "a:1 unix:///run/nsqd", false, ""}, {0, "", false, ""}, {0, "a:1", false, "!a:1"}}, "a:1 unix:///run/nsqd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := lookup.NewTable(plenty)
			wanted := table.Static(words(tt.static)...)
			for i, p := range tt.polls {
				c := table.Poll(p.source, words(p.found), extent(!p.failed, p.found != ""))
				if got := changes(c); got != p.want || c.Refused != 0 {
					t.Errorf("poll %d: %q, want %q; %+v", i, got, p.want, c)
				}
				wanted = follow(wanted, c)
			}
			if !slices.Equal(wanted, words(tt.wanted)) {
				t.Errorf("wanted %q, want %q", wanted, tt.wanted)
			}
		})
	}
}

func TestTableOrder(t *testing.T) {
	table := lookup.NewTable(plenty)
	if got := table.Poll(0, words("d a c"), lookup.Complete).Added; !slices.Equal(got, words("d a c")) {
		t.Errorf("added %q", got)
	}
	table.Poll(0, nil, lookup.Complete)
	if got := table.Poll(0, words("c d a"), lookup.Complete).Returned; !slices.Equal(got, words("c d a")) {
		t.Errorf("returned %q", got)
	}
	table.Poll(0, nil, lookup.Complete)
	table.Poll(0, nil, lookup.Complete)
	if got := table.Poll(0, nil, lookup.Complete).Forgotten; !slices.Equal(got, words("a c d")) {
		t.Errorf("forgotten %q", got)
	}
}

// F33.
func TestTableLimit(t *testing.T) {
	table := lookup.NewTable(2)
	table.Static("s", "s", "t")
	step := func(found string, want lookup.Changes) {
		t.Helper()
		if got := table.Poll(0, words(found), lookup.Complete); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %+v, want %+v", found, got, want)
		}
	}
	step("s a b c c d", lookup.Changes{Added: words("a b"), Refused: 2})
	step("s b c d", lookup.Changes{Refused: 2})
	step("s b c d", lookup.Changes{Refused: 2})
	step("s b d c", lookup.Changes{Forgotten: words("a"), Added: words("d"), Refused: 1}) // a makes room in the same poll
	step("s b d c", lookup.Changes{Refused: 1})
	if added := table.Static("b", "u"); !slices.Equal(added, words("u")) { // b makes room
		t.Errorf("added %q", added)
	}
	step("s b d c", lookup.Changes{Added: words("c")})
	step("e", lookup.Changes{Refused: 1})
}

// TestTablePartial: polls that name addresses and yet fail forget what they do not name, after 30.
// Before, such an address gives way to one that is named if there is no room, after three.
func TestTablePartial(t *testing.T) {
	table := lookup.NewTable(3)
	step := func(found string, extent lookup.Extent, want string, refused int) {
		t.Helper()
		c := table.Poll(0, words(found), extent)
		if got := changes(c); got != want || c.Refused != refused {
			t.Fatalf("%q: %q, %d refused, want %q, %d", found, got, c.Refused, want, refused)
		}
	}
	table.Static("s")
	step("a b c", lookup.Complete, "+a +b +c", 0)
	step("c", lookup.Partial, "", 0)
	step("c b d", lookup.Partial, "!b", 1) // a and b may be back
	step("c", lookup.Unknown, "", 0)
	step("c", lookup.Partial, "", 0)
	step("c d", lookup.Unknown, "+d -a", 0)     // a is missing from three, b from one
	step("c d e f", lookup.Partial, "", 2)      // b from two
	step("c d e f", lookup.Partial, "+e -b", 1) // the others are named
	step("c d", lookup.Partial, "", 0)
	for range 28 {
		step("c d", lookup.Partial, "", 0)
	}
	if n := table.Named(); n != 3 {
		t.Errorf("%d named, want 3", n)
	}
	step("", lookup.Unknown, "", 0)
	step("c d", lookup.Partial, "-e", 0) // e is missing from 30
	step("", lookup.Complete, "", 0)
	step("", lookup.Complete, "", 0)
	step("", lookup.Complete, "-c -d", 0)
}

// TestTableRoom: an address gives way only if every source of it misses it, the one that is missing
// for longest first.
func TestTableRoom(t *testing.T) {
	table := lookup.NewTable(3)
	table.Poll(0, words("a b c"), lookup.Complete)
	table.Poll(1, words("a"), lookup.Complete)
	table.Poll(0, words("c"), lookup.Partial)
	table.Poll(0, words("b"), lookup.Partial)
	for range 3 {
		table.Poll(0, nil, lookup.Partial)
	}
	if got := changes(table.Poll(1, words("a d"), lookup.Unknown)); got != "+d -c" {
		t.Errorf("one more: %q", got)
	}
	if got := changes(table.Poll(1, words("a e f"), lookup.Unknown)); got != "+e -b" {
		t.Errorf("two more: %q", got)
	}
}
