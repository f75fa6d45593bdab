package handler

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// messageContext is the context of a handler: the Message itself, so that
// nothing is allocated for a handler that only passes its context on.
//
// Until Done is called, Err answers from the connection's context and the
// clock. The first Done makes a real child of the connection's context, and
// from then on Value asks that child, so that context.Cause and derived
// contexts find a true cancelCtx there and need no goroutine of their own.
type messageContext Message

// extra is what few messages need.
type extra struct {
	origin  *Message     // of a Message made by WithBody; all else is unused then
	touched atomic.Int64 // the last Touch, as a time.Duration since Terms.Start
	outcome Outcome

	mu    sync.Mutex // held to make or end child, and to use raw
	child atomic.Pointer[child]

	enveloped bool   // the message came with an envelope
	raw       []byte // the body as it came then; nil when it is released
}

// child is the real context behind a messageContext whose Done was asked for.
type child struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer // nil if the message never expires
}

// Context returns the context that the message is handled under. It ends when
// [Delivery.Release] is called, at the latest.
func (m *Message) Context() context.Context { return (*messageContext)(m.origin()) }

type messageKey struct{}

// FromContext returns the message that is being handled under ctx. It is never
// nil: outside a handler it is a zero Message.
func FromContext(ctx context.Context) *Message {
	if m, ok := ctx.Value(messageKey{}).(*Message); ok && m != nil {
		return m
	}
	return new(Message)
}

// NewContext returns a context in which FromContext finds m, for the test of a
// handler.
func NewContext(ctx context.Context, m *Message) context.Context {
	return context.WithValue(ctx, messageKey{}, m)
}

// Deadline is the instant that no TOUCH can move: nsqd's max-msg-timeout after
// delivery. (A context's deadline must not change, and one that is too early
// would end derived contexts for good.) Message.Deadline is the nearer one.
func (c *messageContext) Deadline() (time.Time, bool) {
	if c.read == nil {
		return time.Time{}, false
	}
	t := c.read.Source.Terms()
	if t.MessageTimeout <= 0 || t.MaxMessageTimeout <= 0 {
		return time.Time{}, false
	}
	return t.Start.Add(c.read.At + t.MaxMessageTimeout), true
}

func (c *messageContext) Done() <-chan struct{} { return (*Message)(c).makeChild().ctx.Done() }

func (c *messageContext) Err() error {
	m := (*Message)(c)
	if x := m.extra.Load(); x != nil {
		if ch := x.child.Load(); ch != nil {
			return ch.err()
		}
	}
	if m.state.Load()&ended != 0 {
		return context.Canceled
	}
	if err := m.parent().Err(); err != nil {
		return err
	}
	if left, ok := m.timeLeft(); ok && left <= 0 {
		return m.makeChild().err() // from here on the cause can be found, too
	}
	return nil
}

func (c *messageContext) Value(key any) any {
	m := (*Message)(c)
	if key == (messageKey{}) {
		return m
	}
	if x := m.extra.Load(); x != nil {
		if ch := x.child.Load(); ch != nil {
			return ch.ctx.Value(key)
		}
	}
	return m.parent().Value(key)
}

// String keeps fmt from printing the message's insides, when a context that is
// derived from this one is printed.
func (c *messageContext) String() string { return "handler.Context(" + (*Message)(c).String() + ")" }

// err is Err of the child, but a message timeout is a deadline that passed.
func (ch *child) err() error {
	err := ch.ctx.Err()
	if err != nil && context.Cause(ch.ctx) == ErrMessageTimeout {
		return context.DeadlineExceeded
	}
	return err
}

func (m *Message) parent() context.Context {
	if m.read == nil {
		return context.Background()
	}
	return m.read.Source.Context()
}

// timeLeft is how long the context of the handler still has; ok is false if
// it has no end.
func (m *Message) timeLeft() (left time.Duration, ok bool) {
	by, ok := m.delivery().AnswerBy()
	if !ok {
		return 0, false
	}
	t := m.read.Source.Terms()
	return by - t.grace() - t.Now(), true
}

// more returns m's extra, making it if need be.
func (m *Message) more() *extra {
	if x := m.extra.Load(); x != nil {
		return x
	}
	x := new(extra)
	if m.extra.CompareAndSwap(nil, x) {
		return x
	}
	return m.extra.Load()
}

// makeChild returns the real context of the handler, making it if need be.
func (m *Message) makeChild() *child {
	x := m.more()
	if ch := x.child.Load(); ch != nil {
		return ch
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if ch := x.child.Load(); ch != nil {
		return ch
	}
	ch := new(child)
	ch.ctx, ch.cancel = context.WithCancelCause(m.parent())
	left, expires := m.timeLeft()
	switch {
	case m.state.Load()&ended != 0:
		ch.cancel(context.Canceled)
	case expires && left <= 0:
		ch.cancel(ErrMessageTimeout)
	case expires:
		ch.timer = time.AfterFunc(left, m.expire)
	}
	x.child.Store(ch)
	return ch
}

// expire is called by the child's timer. If TOUCH has moved the end meanwhile,
// the timer is set anew.
func (m *Message) expire() {
	x := m.extra.Load()
	x.mu.Lock()
	defer x.mu.Unlock()
	if m.state.Load()&ended != 0 {
		return
	}
	ch := x.child.Load()
	if left, _ := m.timeLeft(); left > 0 {
		ch.timer.Reset(left)
		return
	}
	ch.cancel(ErrMessageTimeout)
}

// endChild ends what others wait for.
func (m *Message) endChild() {
	x := m.extra.Load()
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if ch := x.child.Load(); ch != nil {
		if ch.timer != nil {
			ch.timer.Stop()
		}
		ch.cancel(context.Canceled)
	}
}
