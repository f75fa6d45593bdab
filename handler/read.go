package handler

import (
	"sync/atomic"
	"time"
)

// Read is what messages share that were read together: from one source, at one instant, into one
// piece of memory. It must not be copied, or used for the messages of another read.
type Read struct {
	Source Source        // not nil
	At     time.Duration // since Terms.Start
	Plain  bool          // bodies are not searched for an envelope

	// Free, unless nil, is called once all of the messages are released: nothing reads the
	// memory of their bodies any more. It must not be set after the first Init.
	Free func()

	// Park, unless nil, is called when the handler of a message has returned, but is to answer later:
	// another message may be handled in its place.
	Park func(*Delivery)

	messages int32 // initialized by Init
	released atomic.Int32
	extras   []extra // preallocated
}

// release notes that n more of the messages are released.
func (r *Read) release(n int) {
	if r.released.Add(int32(n)) == r.messages && r.Free != nil {
		free := r.Free
		r.Free = nil // a message that is kept must not keep the memory
		free()
	}
}

// Lasts reports whether handlers' contexts last at least until an instant, counted from
// Terms.Start, if the source does not end and nsqd does not refuse a TOUCH.
func (r *Read) Lasts(until time.Duration) bool {
	t := r.Source.Terms()
	return t.MessageTimeout <= 0 || until < t.answerBy(r.At, 0)-t.grace()
}

// newExtra returns the extra of a message with an envelope. The more of them a read has, the
// more are allocated together.
func (r *Read) newExtra() *extra {
	if len(r.extras) == 0 {
		r.extras = make([]extra, min(r.messages, 16))
	}
	x := &r.extras[0]
	r.extras = r.extras[1:]
	return x
}
