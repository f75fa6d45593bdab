package handler

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/nsqx/nsqx/envelope"
)

// Delivery is a [Message] with the methods for those who make and settle messages:
// connections, consumers, test kits. A handler does not need it.
//
// Both types share one memory, so conversions cost nothing: (*handler.Delivery)(m), and
// d.Message().
//
// Its methods are safe for concurrent use, except Init, Outcome, SetOutcome and Release, which
// belong to the goroutine that handles the message.
type Delivery Message

// Message returns d as the type that handlers get.
func (d *Delivery) Message() *Message { return (*Message)(d) }

func (m *Message) delivery() *Delivery { return (*Delivery)(m) }

// origin returns d, or the delivery that WithBody was called on.
func (d *Delivery) origin() *Delivery { return d.Message().origin().delivery() }

// Init makes d a delivery that was read with r; nil for no source. timestamp is nsqd's, in
// nanoseconds since 1970. If body has an envelope, and r is not nil and not Plain, Body becomes the
// payload behind the envelope.
//
// d must be zero. One goroutine must initialize all messages of r, before the first of them is
// released.
func (d *Delivery) Init(r *Read, id ID, attempts uint16, timestamp int64, body []byte) {
	d.ID, d.Attempts, d.Body = id, attempts, body
	d.read, d.timestamp = r, timestamp
	if r == nil {
		return
	}
	r.messages++
	if !r.Plain && envelope.Is(body) {
		d.Message().open()
	}
}

// Topic is [Message.Topic].
func (d *Delivery) Topic() string { return d.Message().Topic() }

// Channel is [Message.Channel].
func (d *Delivery) Channel() string { return d.Message().Channel() }

// NSQD is [Message.NSQD].
func (d *Delivery) NSQD() string { return d.Message().NSQD() }

// Timestamp is [Message.Timestamp].
func (d *Delivery) Timestamp() time.Time { return d.Message().Timestamp() }

// Received is [Message.Received].
func (d *Delivery) Received() time.Time { return d.Message().Received() }

// Outcome is [Message.Outcome].
func (d *Delivery) Outcome() Outcome { return d.Message().Outcome() }

// Context is [Message.Context].
func (d *Delivery) Context() context.Context { return d.Message().Context() }

// String is [Message.String].
func (d *Delivery) String() string { return d.Message().String() }

// GoString is [Message.GoString].
func (d *Delivery) GoString() string { return d.Message().String() }

// LogValue is [Message.LogValue].
func (d *Delivery) LogValue() slog.Value { return d.Message().LogValue() }

// Source returns the source of the message; nil if there is none.
func (d *Delivery) Source() Source {
	if d.read == nil {
		return nil
	}
	return d.read.Source
}

// Read returns what the message has in common with others; nil if there is no source.
func (d *Delivery) Read() *Read { return d.read }

// AnswerBy returns [Message.Deadline] as a duration since Terms.Start. After that instant only a
// success may be answered. For an expired delivery the instant has passed.
func (d *Delivery) AnswerBy() (instant time.Duration, ok bool) {
	o := d.origin()
	if o.read == nil {
		return 0, false
	}
	if o.state.Load()&expired != 0 {
		return o.read.At, true
	}
	t := o.read.Source.Terms()
	if t.MessageTimeout <= 0 {
		return 0, false
	}
	var touched time.Duration
	if x := o.extra.Load(); x != nil {
		touched = time.Duration(x.touched.Load())
	}
	return t.answerBy(o.read.At, touched), true
}

// Answerable reports whether nsqd certainly still waits for an answer.
func (d *Delivery) Answerable() bool {
	by, ok := d.AnswerBy()
	return !ok || d.read.Source.Terms().Now() < by
}

// ForAnotherChannel reports whether a redrive has published the message for another channel of its
// topic (see envelope.RedriveChannel), so that it is not to be handled here.
func (d *Delivery) ForAnotherChannel() bool {
	o := d.origin()
	if o.state.Load()&addressed == 0 { // nearly always
		return false
	}
	m := o.Message()
	topic, channel, ok := strings.Cut(m.Header(envelope.RedriveChannel), "/")
	// A dead letter may keep the header that its message had.
	return ok && topic == m.Topic() && channel != m.Channel() && m.Header(envelope.DeadTopic) == ""
}

// HasOwnContext reports whether the handler's context can end for a reason that other messages
// of its [Read] do not share. If false, it ends only with the context of the source, or at the
// instant that [Read.Lasts] compares with.
func (d *Delivery) HasOwnContext() bool {
	if d.derived || d.state.Load()&(ended|expired) != 0 {
		return true
	}
	x := d.extra.Load()
	return x != nil && x.child.Load() != nil
}

// SetOutcome records the decision of the consumer.
func (d *Delivery) SetOutcome(out Outcome) {
	o := d.Message().origin()
	o.disposition = out.Disposition
	if out.Err != nil || out.Delay != 0 {
		o.ensureExtra().outcome = out
	} else if x := o.extra.Load(); x != nil {
		x.outcome = out
	}
}

// SetFault makes d a message that no handler may see: err says why. It is called by who makes d,
// after Init.
func (d *Delivery) SetFault(err error) { d.Message().ensureExtra().fault = err }

// Fault returns why no handler may see the message; nil for nearly all.
func (d *Delivery) Fault() error {
	if x := d.extra.Load(); x != nil {
		return x.fault
	}
	return nil
}

// Ordinary reports whether neither a fault nor a header needs to be looked at before a handler sees the
// message. It is false for some that are.
func (d *Delivery) Ordinary() bool {
	return d.extra.Load() == nil && d.state.Load()&(addressed|scheduled) == 0
}

// Claim takes the right to answer the delivery. It returns true to the first caller only: a
// delivery is settled once. A handler must not call it: nobody would answer its message.
func (d *Delivery) Claim() bool {
	return d.origin().state.Or(claimed)&claimed == 0
}

// Claimed reports whether Claim or End was called.
func (d *Delivery) Claimed() bool { return d.origin().state.Load()&claimed != 0 }

// End is Claim for a handler that has returned: it also cancels the handler's context. Release
// must still be called.
func (d *Delivery) End() bool {
	first := d.state.Or(claimed|ended)&claimed == 0
	d.Message().cancelChild(context.Canceled)
	return first
}

// Expire ends the handler's context with [ErrMessageTimeout], whatever the clock says; from
// then on only a success may be answered. A source calls it when nsqd has refused a TOUCH.
func (d *Delivery) Expire() {
	o := d.origin()
	o.state.Or(expired)
	o.Message().cancelChild(ErrMessageTimeout)
}

// Release cancels the handler's context and gives back the memory of body and headers. The
// consumer calls it once, when no handler, middleware or dead letter reads the body any more.
func (d *Delivery) Release() {
	before := d.state.Or(ended | released)
	d.Message().cancelChild(context.Canceled)
	d.dropBody()
	if before&released == 0 && !d.derived && d.read != nil {
		d.read.release(1)
	}
}

func (d *Delivery) dropBody() {
	d.Body = nil
	if x := d.extra.Load(); x != nil {
		x.dropRaw()
	}
}

// ReleaseAll releases deliveries that have a source and on which End was called. It must be the
// last call on them.
func ReleaseAll(all []Delivery) {
	var r *Read
	n := 0
	for i := range all {
		d := &all[i]
		d.dropBody()
		if d.state.Load()&released != 0 { // Release was called already
			continue
		}
		if d.read != r {
			if n > 0 {
				r.release(n)
			}
			r, n = d.read, 0
		}
		n++
	}
	if n > 0 {
		r.release(n)
	}
}
