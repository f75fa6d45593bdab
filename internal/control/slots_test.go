package control

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/check"
)

// TestPassOver: while a connection uses all it has, and slots of several messages are slow, silent ones
// are asked in turn, each of them.
func TestPassOver(t *testing.T) {
	busy, silent := conn.Load{Quota: 9, InFlight: 9, Peak: 9, Starved: true, ProbeIn: time.Hour}, conn.Load{Quota: 1, ProbeIn: time.Hour}
	probed := conn.Load{Quota: 1, Probing: true}
	for name, tt := range map[string]struct {
		size, silent int
		starved      bool
		fast         bool
		kept         int
	}{
		"one at a time":           {size: 7, silent: 5, starved: true, kept: 1},
		"an eighth of a slot":     {size: 24, silent: 7, starved: true, kept: 3},
		"all of them":             {size: 100, silent: 7, starved: true, kept: 7},
		"none is silent":          {size: 7, starved: true},
		"nobody could use more":   {size: 7, silent: 5},
		"messages may come ahead": {size: 7, silent: 5, starved: true, fast: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Control{cfg: Config{SlotSize: tt.size}}
			c.slotsCount.Store(!tt.fast)
			loads := append(slices.Repeat([]conn.Load{silent}, tt.silent), busy, probed)
			loads[tt.silent].Starved = tt.starved
			asked := make(map[int]int)
			for range 10 * max(tt.silent, 1) {
				passed, kept := c.passOver(loads)
				check.Want(t, "kept", kept, tt.kept)
				check.Want(t, "passed", len(passed), max(tt.silent-kept, 0)*min(kept, 1))
				for i := range loads {
					if !passed[i] {
						asked[i]++
					}
				}
				c.ticks++
			}
			for i := range tt.silent {
				if n := asked[i]; n < 10*max(tt.kept, 1) {
					t.Errorf("connection %d was asked %d times: %v", i, n, slices.Sorted(maps.Keys(asked)))
				}
			}
			check.Want(t, "a busy one", asked[tt.silent] == 10*max(tt.silent, 1) && asked[tt.silent+1] == asked[tt.silent], true)
		})
	}
}
