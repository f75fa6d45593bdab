package nsqx

import (
	"context"
	"sync"
)

// tracker counts what is under way, so that one can wait for its end. The zero value
// is ready to use.
type tracker struct {
	mu     sync.Mutex
	closed bool
	epoch  int           // flush begins a new one
	n      [2]int        // under way, by the parity of the epoch in which it began
	over   chan struct{} // closed when all of the epoch before has ended; nil if nobody waits
}

// begin counts one more, and returns what end is to be called with. ok is false if
// nothing may begin any more.
func (t *tracker) begin() (epoch int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0, false
	}
	t.n[t.epoch&1]++
	return t.epoch, true
}

func (t *tracker) end(epoch int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n[epoch&1]--
	if t.over != nil && epoch != t.epoch && t.n[epoch&1] == 0 {
		close(t.over)
		t.over = nil
	}
}

// close lets nothing begin any more. It returns false if that was so before.
func (t *tracker) close() (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, t.closed = !t.closed, true
	return first
}

// flush waits until all that has begun before has ended, or ctx ends.
func (t *tracker) flush(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.epoch
	for t.epoch == now || t.epoch == now+1 && t.over != nil { // one epoch is waited for at a time
		if t.over == nil {
			t.epoch++
			if t.n[now&1] == 0 {
				return nil
			}
			t.over = make(chan struct{})
		}
		over := t.over
		t.mu.Unlock()
		var err error
		select {
		case <-over:
		case <-ctx.Done():
			err = ended(ctx)
		}
		t.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}
