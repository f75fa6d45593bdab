package publish

import (
	"context"
	"sync"
)

// Ending is an end that several may ask for: the first brings it about, the others wait for it, and
// all have its result. The zero value is ready to use.
type Ending struct {
	mu   sync.Mutex
	over chan struct{} // closed when err is set; nil before the first Do
	err  error
}

// Do calls end if it is the first. Otherwise it waits for the first and returns its result, or why
// ctx has ended if that comes first.
func (e *Ending) Do(ctx context.Context, end func() error) error {
	e.mu.Lock()
	first := e.over == nil
	if first {
		e.over = make(chan struct{})
	}
	over := e.over
	e.mu.Unlock()
	if first {
		defer close(over)
		e.err = end()
		return e.err
	}
	if err := await(ctx, over); err != nil {
		return err
	}
	return e.err
}

// await waits until over is closed and returns nil, or why ctx has ended if that comes first. If both
// have happened it returns nil.
func await(ctx context.Context, over <-chan struct{}) error {
	select {
	case <-over:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-over:
		return nil
	default:
		return Ended(ctx)
	}
}
