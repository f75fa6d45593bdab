package guard

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Patience is how long Within waits for user code that should have returned when its context ended.
const Patience = 500 * time.Millisecond

// ErrHangs reports user code that did not return when its context ended, nor within Patience.
var ErrHangs = errors.New("nsqx: user code has not returned, although its context has ended")

// Room is where Within calls user code that may hang. It holds one call at a time, so code that
// hangs costs one goroutine, however often it is to be called. The zero value is ready to use, by one
// goroutine at a time.
type Room struct{ taken chan struct{} } // closed when the last call has returned; nil before the first

// Taken reports whether a call that was left behind has not returned yet.
func (r *Room) Taken() bool {
	if r.taken == nil {
		return false
	}
	select {
	case <-r.taken:
		return false
	default:
		return true
	}
}

// Within is IsolateValue for user code that should return when ctx ends. If it does not, Within
// leaves it behind and returns ErrHangs; late, which may be nil, gets its value if it returns one
// later without an error. While such a call lasts, Within makes no other in the room: it waits until
// ctx ends, and returns ErrHangs.
func Within[T any](ctx context.Context, r *Room, f func() (T, error), late func(T)) (v T, err error) {
	if r.Taken() {
		select {
		case <-r.taken:
		case <-ctx.Done():
			return v, ErrHangs
		}
	}
	taken := make(chan struct{})
	r.taken = taken
	var (
		result  T
		failure error
		over    atomic.Bool // the caller has left, or f has returned: whichever comes first
	)
	go Finally(func() { result, failure = f() }, func(broken error) {
		defer close(taken)
		if broken != nil {
			var zero T
			result, failure = zero, broken
		}
		if !over.CompareAndSwap(false, true) && late != nil && failure == nil {
			_ = Call(func() { late(result) })
		}
	})
	select {
	case <-taken:
		return result, failure
	case <-ctx.Done():
	}
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case <-taken:
	case <-timer.C:
		if over.CompareAndSwap(false, true) {
			return v, ErrHangs
		}
		<-taken
	}
	return result, failure
}
