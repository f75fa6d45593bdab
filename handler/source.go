package handler

import (
	"context"
	"sync/atomic"
	"time"
)

// Source is where a message came from. A connection implements it; so may a
// test that makes messages of its own.
type Source interface {
	Topic() string
	Channel() string
	NSQD() string // address

	// Context is cancelled when the source can take no more answers, with a
	// cause that says why. The contexts of its messages are children of it. It
	// must not have a deadline.
	Context() context.Context

	// Terms are the same for all messages of the source, and never change.
	Terms() *Terms

	// Touch asks nsqd for another message timeout. It must not block.
	Touch(d *Delivery) error
}

// Toucher is a Source that keeps messages touched while they are handled. A
// connection is one; see middleware.AutoTouch.
type Toucher interface {
	Source

	// KeepTouched touches d whenever half the message timeout has gone by since
	// it was received or touched, until stop is called, d is settled, nsqd's
	// max-msg-timeout leaves nothing to gain, or the source ends. It must not
	// block, and stop must neither, nor wait for a TOUCH that is on its way.
	// stop may be called at any time, and again.
	KeepTouched(d *Delivery) (stop func())
}

// Terms are the time limits that nsqd sets for the messages of a connection.
type Terms struct {
	// Start is the instant from which messages count their own instants.
	Start time.Time

	// MessageTimeout is how long nsqd waits for an answer, from delivery or
	// from the last TOUCH. 0: for ever.
	MessageTimeout time.Duration

	// MaxMessageTimeout is how long nsqd waits at most, whatever is touched.
	MaxMessageTimeout time.Duration

	// Margin is what the way to nsqd and its clock may take: an answer is only
	// sent if the timeout is further away than this.
	Margin time.Duration
}

// Now is the present instant, counted from Start.
func (t *Terms) Now() time.Duration { return time.Since(t.Start) }

// answerBy is the last instant at which an answer is safe: nsqd cannot have
// given the message to anyone else before it.
func (t *Terms) answerBy(received, touched time.Duration) time.Duration {
	end := max(received, touched) + t.MessageTimeout
	if t.MaxMessageTimeout > 0 {
		end = min(end, received+t.MaxMessageTimeout)
	}
	return end - t.Margin
}

// grace is how long before answerBy the context of a handler ends, so that a
// handler which respects it is still answered.
func (t *Terms) grace() time.Duration { return min(time.Second, t.MessageTimeout/10) }

// Read is what messages have in common that were read together: from one source, at
// one instant, into one piece of memory. It must not be copied, or used for messages of
// another read.
type Read struct {
	Source Source        // not nil
	At     time.Duration // since Terms.Start

	// Free, unless nil, is called when all of the messages are released: nothing
	// reads the memory of their bodies any more. It belongs to the messages once
	// there are any.
	Free func()

	messages int32 // that Init has made
	released atomic.Int32
	extras   []extra // free room
}

// release notes that n more of the messages are released.
func (r *Read) release(n int) {
	if r.released.Add(int32(n)) == r.messages && r.Free != nil {
		free := r.Free
		r.Free = nil // who keeps a message keeps no memory
		free()
	}
}

// Lasts says whether the contexts of handlers last until an instant at least, counted
// from Terms.Start, unless that of the source ends before, or nsqd says that it waits no
// more.
func (r *Read) Lasts(until time.Duration) bool {
	t := r.Source.Terms()
	return t.MessageTimeout <= 0 || until < t.answerBy(r.At, 0)-t.grace()
}

// newExtra returns the extra of a message with an envelope: the more there are, the more
// are made together.
func (r *Read) newExtra() *extra {
	if len(r.extras) == 0 {
		r.extras = make([]extra, min(r.messages, 16))
	}
	x := &r.extras[0]
	r.extras = r.extras[1:]
	return x
}
