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
	Touch(m *Message) error
}

// Toucher is a Source that keeps messages touched while they are handled. A
// connection is one; see middleware.AutoTouch.
type Toucher interface {
	Source

	// KeepTouched touches m whenever half the message timeout has gone by since
	// it was received or touched, until stop is called, m is settled, nsqd's
	// max-msg-timeout leaves nothing to gain, or the source ends. It must not
	// block, and stop must neither, nor wait for a TOUCH that is on its way.
	// stop may be called at any time, and again.
	KeepTouched(m *Message) (stop func())
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

// Lease counts the messages whose bodies lie in one piece of read memory, and
// gives the memory back when the last of them is settled.
type Lease struct {
	held atomic.Int64
	free func()
}

// NewLease returns a Lease that is held once. free is called, once for each
// time the count reaches zero, by whoever released last.
func NewLease(free func()) *Lease {
	l := &Lease{free: free}
	l.held.Store(1)
	return l
}

// Hold adds n holders. The caller must itself be one, or know of one.
func (l *Lease) Hold(n int) { l.held.Add(int64(n)) }

// Held is the number of holders.
func (l *Lease) Held() int { return int(l.held.Load()) }

// Release takes n holders away.
func (l *Lease) Release(n int) {
	if l.held.Add(int64(-n)) == 0 {
		l.free()
	}
}
