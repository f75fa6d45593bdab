package handler

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Message is one delivery of a message by one nsqd. A redelivery is another
// Message.
//
// Its methods are safe for concurrent use, but for Outcome, which belongs to the
// goroutine that handles the message. Fields must not be written to.
// The zero Message is of no topic, never expires, and cannot be touched.
type Message struct {
	// ID is unique for one topic of one nsqd only.
	ID ID

	// Attempts counts the deliveries of the message, this one included; it
	// starts at 1. nsqd's counter has 16 bits: after 65535 comes 0.
	Attempts uint16

	disposition Disposition
	derived     bool // made by WithBody; extra.origin is set
	state       atomic.Uint32

	// Body is the payload, without the envelope that headers came in; see
	// RawBody. It is lent, read-only, until the message is settled, that is,
	// until the handler and its middleware have returned; soon after that it is
	// nil. Clone it (bytes.Clone) to keep it.
	Body []byte

	read      *Read // nil: of no source
	timestamp int64
	extra     atomic.Pointer[extra]
}

// Bits of Message.state.
const (
	claimed    = 1 << iota // somebody answers, or has answered; nobody else may
	ended                  // the handler has returned: its context is over
	expired                // nsqd has said that it does not wait any more
	unreadable             // the body has an envelope that cannot be read
	released               // the memory of the body is given back
)

// Topic returns the topic that the message was published to.
func (m *Message) Topic() string {
	if m.read == nil {
		return ""
	}
	return m.read.Source.Topic()
}

// Channel returns the channel that the message was delivered on.
func (m *Message) Channel() string {
	if m.read == nil {
		return ""
	}
	return m.read.Source.Channel()
}

// NSQD returns the address of the nsqd that delivered the message.
func (m *Message) NSQD() string {
	if m.read == nil {
		return ""
	}
	return m.read.Source.NSQD()
}

// Timestamp returns when nsqd accepted the message, by nsqd's clock.
func (m *Message) Timestamp() time.Time { return time.Unix(0, m.timestamp) }

// Received returns when this delivery was read from the connection; the zero
// time if the message came from none.
func (m *Message) Received() time.Time {
	if m.read == nil {
		return time.Time{}
	}
	return m.read.Source.Terms().Start.Add(m.read.At)
}

// Deadline returns when nsqd stops waiting for an answer, less the margin that
// an answer needs. It moves with Touch. ok is false if nsqd waits for ever.
func (m *Message) Deadline() (deadline time.Time, ok bool) {
	by, ok := m.delivery().AnswerBy()
	if !ok {
		return time.Time{}, false
	}
	return m.read.Source.Terms().Start.Add(by), true
}

// Touch asks nsqd for another message timeout, counted from now, and moves the
// end of the handler's context with it, but never beyond nsqd's
// max-msg-timeout (15 minutes by default) after delivery. nsqd does not answer
// a TOUCH. The error is [ErrSettled], [ErrMessageTimeout] if it is too late, or
// [ErrConnLost].
func (m *Message) Touch() error {
	o := m.origin()
	switch {
	case o.read == nil || o.state.Load()&(claimed|ended) != 0:
		return ErrSettled
	case !o.delivery().Answerable():
		return ErrMessageTimeout
	}
	src := o.read.Source
	now := src.Terms().Now()
	if err := src.Touch(o.delivery()); err != nil {
		return err
	}
	o.more().touched.Store(int64(now))
	return nil
}

// WithBody returns the same delivery with another body: a payload that was
// decrypted or unpacked, for the next handler of a chain. All else is shared
// with m: the headers, and what is touched or settled is the delivery. A dead
// letter carries the body as it came, and FromContext returns the delivery as it
// came. body is not searched for an envelope, and is decoded even if m has one
// that cannot be read.
func (m *Message) WithBody(body []byte) *Message {
	o := m.origin()
	d := &Message{ID: o.ID, Attempts: o.Attempts, Body: body, derived: true}
	d.read, d.timestamp = o.read, o.timestamp
	d.extra.Store(&extra{origin: o})
	return d
}

// Outcome returns what nsqd hears about the delivery. Its Disposition is
// Pending until the consumer has decided, which is after the handler and the
// consumer's middleware have returned.
func (m *Message) Outcome() Outcome {
	o := m.origin()
	if x := o.extra.Load(); x != nil && x.outcome.Disposition != Pending {
		return x.outcome
	}
	return Outcome{Disposition: o.disposition}
}

// String identifies the delivery; body and headers are not printed.
func (m *Message) String() string {
	return fmt.Sprintf("message %s of %s/%s from %s, attempt %d", m.ID, m.Topic(), m.Channel(), m.NSQD(), m.Attempts)
}

// GoString is String.
func (m *Message) GoString() string { return m.String() }

// LogValue makes a message a group of its metadata in slog; body and headers are
// not logged.
func (m *Message) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", m.ID.String()),
		slog.String("topic", m.Topic()),
		slog.String("channel", m.Channel()),
		slog.String("nsqd", m.NSQD()),
		slog.Int("attempts", int(m.Attempts)),
	)
}

// origin is the delivery itself: m, or what WithBody was called on.
func (m *Message) origin() *Message {
	if m.derived {
		return m.extra.Load().origin
	}
	return m
}
