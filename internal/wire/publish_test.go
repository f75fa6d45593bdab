package wire_test

import (
	"math"
	"testing"

	"github.com/nsqx/nsqx/internal/wire"
)

// Commands built of items equal those of AppendPUB, AppendDPUB and AppendMPUB.
func TestItems(t *testing.T) {
	for _, texts := range [][]string{{"a"}, {"a\nb"}, {""}, {"a", "b"}, {"a", "", "longer"}, {"a", "b", "c", "d", "e"}} {
		var bodies [][]byte
		items, size := []byte(nil), 0
		for _, text := range texts {
			bodies = append(bodies, []byte(text))
			items = wire.AppendItem(items, []byte(text))
			size += wire.ItemLen([]byte(text))
		}
		equal(t, "length of the items", len(items), size)
		prefix := []byte("xyz")
		want := wire.AppendMPUB(prefix, "orders", bodies)
		if len(texts) == 1 {
			want = wire.AppendPUB(prefix, "orders", bodies[0])
			for _, ms := range []int64{0, 1, 250, math.MaxInt64} {
				equal(t, "DPUB", string(wire.AppendDeferredItem(prefix, "orders", ms, items)), string(wire.AppendDPUB(prefix, "orders", ms, bodies[0])))
			}
		}
		equal(t, "command", string(wire.AppendItems(prefix, "orders", len(texts), items)), string(want))
		equal(t, "prefix", string(prefix), "xyz")
	}
}

func TestItemInPlace(t *testing.T) {
	dst := make([]byte, 3, 100)
	copy(dst, "xyz")
	got := wire.AppendItem(dst, []byte("body"))
	equal(t, "item", string(got), "xyz\x00\x00\x00\x04body")
	equal(t, "in place", &got[0], &dst[0])
}
