package handler

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// messageContext is the context of a handler. It is the Message itself, so a handler that only
// passes its context on allocates nothing.
//
// Until Done is called, Err consults the connection's context and the clock. The first Done
// makes a child of the connection's context. From then on Value asks the child, so
// context.Cause and derived contexts find a true cancelCtx and need no goroutine.
type messageContext Message

// extra is state that few messages need.
type extra struct {
	origin  *Message     // of a Message made by WithBody; all other fields are unused then
	touched atomic.Int64 // the last Touch, as a time.Duration since Terms.Start
	outcome Outcome
	answer  error // of a message of a batch, if it has its own
	fault   error // see Delivery.Fault

	mu    sync.Mutex // held to make or cancel child, and to use raw
	child atomic.Pointer[child]

	enveloped bool   // the message came with an envelope
	raw       []byte // the body with its envelope; nil after the release
}

// child is the cancelable context behind a messageContext.
type child struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer // nil if the message never expires
}

// Context returns the context of the handler. It ends when the consumer has settled the
// message, if not before.
func (m *Message) Context() context.Context { return (*messageContext)(m.origin()) }

type messageKey struct{}

// FromContext returns the message that is handled under ctx. It is never nil: outside a handler
// it is a zero Message.
func FromContext(ctx context.Context) *Message {
	if m, ok := ctx.Value(messageKey{}).(*Message); ok && m != nil {
		return m
	}
	return new(Message)
}

// NewContext returns a context in which FromContext finds m, for the test of a handler.
func NewContext(ctx context.Context, m *Message) context.Context {
	return context.WithValue(ctx, messageKey{}, m)
}

// Deadline returns the instant that no TOUCH can move: nsqd's max-msg-timeout after delivery.
// Message.Deadline is nearer, but a context's deadline must not change, and one that is too
// early would end derived contexts for good.
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

func (c *messageContext) Done() <-chan struct{} { return (*Message)(c).ensureChild().ctx.Done() }

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
		return m.ensureChild().err() // the child makes the cause available
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

// String keeps fmt from printing the fields of the message with a derived context.
func (c *messageContext) String() string { return "handler.Context(" + (*Message)(c).String() + ")" }

// err returns the child's Err, but DeadlineExceeded for a message timeout.
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

// ContextEnd returns when the handler's context ends if nothing but time ends it, as a duration since
// Terms.Start. ok is false if it has no end.
func (d *Delivery) ContextEnd() (instant time.Duration, ok bool) {
	by, ok := d.AnswerBy()
	if !ok {
		return 0, false
	}
	return by - d.read.Source.Terms().grace(), true
}

// timeLeft returns how long the handler's context still lasts; ok is false if it has no end.
func (m *Message) timeLeft() (left time.Duration, ok bool) {
	end, ok := m.delivery().ContextEnd()
	if !ok {
		return 0, false
	}
	return end - m.read.Source.Terms().Now(), true
}

func (m *Message) ensureExtra() *extra {
	if x := m.extra.Load(); x != nil {
		return x
	}
	x := new(extra)
	if m.extra.CompareAndSwap(nil, x) {
		return x
	}
	return m.extra.Load()
}

func (m *Message) ensureChild() *child {
	x := m.ensureExtra()
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
		ch.timer = time.AfterFunc(left, m.timerFired)
	}
	x.child.Store(ch)
	return ch
}

// timerFired cancels the child, or resets the timer if a TOUCH has moved the end.
func (m *Message) timerFired() {
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

// cancelChild cancels the child, if there is one. The first cause counts.
func (m *Message) cancelChild(cause error) {
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
		ch.cancel(cause)
	}
}
