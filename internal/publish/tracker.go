package publish

import (
	"context"
	"sync"
)

// Tracker counts publishes under way, so that their end can be awaited. The zero value is ready to
// use.
type Tracker struct {
	mu     sync.Mutex
	closed bool
	epoch  int           // Flush begins a new one
	n      [2]int        // under way, by the parity of the epoch in which they began
	over   chan struct{} // closed when all of the previous epoch have ended; nil if nobody waits
}

// Begin counts one more. Pass the result to End. ok is false after Close.
func (t *Tracker) Begin() (epoch int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0, false
	}
	t.n[t.epoch&1]++
	return t.epoch, true
}

// End counts one less.
func (t *Tracker) End(epoch int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n[epoch&1]--
	if t.over != nil && epoch != t.epoch && t.n[epoch&1] == 0 {
		close(t.over)
		t.over = nil
	}
}

// Close lets nothing begin any more.
func (t *Tracker) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}

// Flush waits until all that has begun before has ended, or ctx ends.
func (t *Tracker) Flush(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.epoch
	for t.epoch == now || t.epoch == now+1 && t.over != nil { // one epoch is awaited at a time
		if t.over == nil {
			t.epoch++
			if t.n[now&1] == 0 {
				return nil
			}
			t.over = make(chan struct{})
		}
		over := t.over
		t.mu.Unlock()
		err := await(ctx, over)
		t.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}
