package handler

import (
	"context"
	"sync/atomic"
	"time"
)

// Source is where messages come from: a connection, or a test that makes its own messages.
type Source interface {
	Topic() string
	Channel() string
	NSQD() string // address

	// Context is canceled when the source can take no more answers; the cause says why. The
	// contexts of its messages are children of it. It must not have a deadline.
	Context() context.Context

	// Terms are the same for all messages of the source, and never change but by Slept.
	Terms() *Terms

	// Touch asks nsqd for another message timeout. It must not block.
	Touch(d *Delivery) error
}

// Toucher is a Source that can keep messages touched while they are handled, as a connection
// can. middleware.AutoTouch uses it.
type Toucher interface {
	Source

	// KeepTouched touches d each time half the message timeout has passed since it was received
	// or touched. It ends when stop is called, d is settled, nsqd's max-msg-timeout leaves
	// nothing to gain, or the source ends.
	//
	// Neither KeepTouched nor stop may block. stop does not wait for a TOUCH under way. It may
	// be called at any time, and repeatedly.
	KeepTouched(d *Delivery) (stop func())
}

// Terms are the time limits that nsqd sets for the messages of a connection.
type Terms struct {
	// Start is the instant from which the instants of messages are counted.
	Start time.Time

	// MessageTimeout is how long nsqd waits for an answer, from the delivery or the last TOUCH.
	// 0 means forever.
	MessageTimeout time.Duration

	// MaxMessageTimeout is how long nsqd waits at most after the delivery, whatever is touched.
	// 0 means no limit.
	MaxMessageTimeout time.Duration

	// Margin allows for the way to nsqd and for its clock: an answer is only sent if the
	// timeout is further away than this.
	Margin time.Duration

	sleep atomic.Pointer[sleep] // nil unless Slept was called
}

// sleep is a time for which the clock of durations stood still.
type sleep struct{ until, lost time.Duration }

// Slept notes that the clock has just stood still for lost, as when a virtual machine is suspended, while
// nsqd's went on: what was delivered or touched before may be answered for so much less time. The source
// calls it, from one goroutine at a time.
func (t *Terms) Slept(lost time.Duration) {
	now := t.Now()
	if last := t.sleep.Load(); last != nil && now-last.until < max(t.MessageTimeout, t.MaxMessageTimeout) {
		lost += last.lost // too much for what came in between, which is safe
	}
	t.sleep.Store(&sleep{now, lost})
}

// Now returns the present instant, counted from Start.
func (t *Terms) Now() time.Duration { return time.Since(t.Start) }

// answerBy returns the last instant at which an answer is safe: until then nsqd cannot have
// given the message to another consumer.
func (t *Terms) answerBy(received, touched time.Duration) time.Duration {
	last := max(received, touched)
	end := last + t.MessageTimeout - t.sleptSince(last)
	if t.MaxMessageTimeout > 0 {
		end = min(end, received+t.MaxMessageTimeout-t.sleptSince(received))
	}
	return end - t.Margin
}

// sleptSince returns how much longer the time since an instant was for nsqd.
func (t *Terms) sleptSince(instant time.Duration) time.Duration {
	if s := t.sleep.Load(); s != nil && instant < s.until {
		return s.lost
	}
	return 0
}

// grace returns how long before answerBy the handler's context ends, so that a handler that
// respects its context is still answered.
func (t *Terms) grace() time.Duration { return min(time.Second, t.MessageTimeout/10) }
