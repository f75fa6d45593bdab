package nsqotel

import (
	"context"
	"sync"
	"sync/atomic"
)

// tally counts finished messages until metrics are collected: an atomic addition takes a tenth of
// the time of a counter of the SDK.
type tally struct {
	n  atomic.Int64
	at result
}

// tallyKey identifies the messages of a tally.
type tallyKey struct {
	dest destination
	nsqd string // "" if metrics do not have the address
}

// tallies holds the tallies of all consumers. The zero value is ready to use.
type tallies struct {
	mu  sync.Mutex
	all map[tallyKey]*tally
}

// of returns the tally of a key, which consumers may share. It returns nil if there are too many
// tallies.
func (ts *tallies) of(key tallyKey, at result) *tally {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.all[key]
	if t == nil && len(ts.all) < maxEntries {
		if ts.all == nil {
			ts.all = make(map[tallyKey]*tally)
		}
		t = &tally{at: at}
		ts.all[key] = t
	}
	return t
}

// flush moves all counts to the counters.
func (ts *tallies) flush(ctx context.Context, i *instruments) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.all {
		if n := t.n.Swap(0); n > 0 {
			i.consumed.Add(ctx, n, t.at.process.add...)
			i.settlements.Add(ctx, n, t.at.settlement.add...)
		}
	}
}
