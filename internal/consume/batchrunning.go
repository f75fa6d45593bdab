package consume

import (
	"maps"
	"slices"
	"sync"
)

// runningBatches are the contexts of the batches that are handled. The zero value has none.
type runningBatches struct {
	mu  sync.Mutex
	all map[*batchContext]bool
}

// add adds a context, which the function that it returns removes and ends.
func (r *runningBatches) add(b *batchContext) (end func()) {
	r.mu.Lock()
	if r.all == nil {
		r.all = make(map[*batchContext]bool)
	}
	r.all[b] = true
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		delete(r.all, b)
		r.mu.Unlock()
		b.end()
	}
}

// look ends the contexts that have a message whose time is over, soon: a read may bring many refusals.
func (r *runningBatches) look() {
	r.mu.Lock()
	all := slices.Collect(maps.Keys(r.all))
	r.mu.Unlock()
	for _, b := range all {
		b.soon()
	}
}
