package handler

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Message is one delivery of a message by one nsqd. A redelivery is another Message.
//
// Its methods are safe for concurrent use, except Outcome, which belongs to the goroutine that
// handles the message. Fields must not be written to. The zero Message has no topic, never
// expires, and cannot be touched.
//
// See [Delivery] for what connections, consumers and test kits do with a message.
type Message struct {
	// ID is unique within one topic of one nsqd only.
	ID ID

	// Attempts counts the deliveries of the message, including this one; it starts at 1.
	// nsqd's counter has 16 bits: 65535 is followed by 0.
	Attempts uint16

	disposition Disposition
	derived     bool // made by WithBody; extra.origin is set
	state       atomic.Uint32

	// Body is the payload, without the envelope that headers came in; see RawBody. It is
	// read-only, and valid until the message is settled: after the handler and its middleware
	// have returned it becomes nil. Clone it (bytes.Clone) to keep it.
	Body []byte

	read      *Read // nil without a source
	timestamp int64
	extra     atomic.Pointer[extra]
}

// Bits of Message.state.
const (
	claimed    = 1 << iota // the right to answer is taken
	ended                  // the handler has returned: its context is canceled
	expired                // nsqd has said that it no longer waits
	unreadable             // the envelope of the body cannot be read
	addressed              // it has the header envelope.RedriveChannel
	released               // the memory of the body is given back
	scheduled              // a header says when the message may be handled, or until when
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

// Received returns when this delivery was read from the connection; the zero time without a
// connection.
func (m *Message) Received() time.Time {
	if m.read == nil {
		return time.Time{}
	}
	return m.read.Source.Terms().Start.Add(m.read.At)
}

// Deadline returns when nsqd stops waiting for an answer, minus the margin that an answer
// needs. Touch moves it. ok is false if nsqd waits forever.
func (m *Message) Deadline() (deadline time.Time, ok bool) {
	by, ok := m.delivery().AnswerBy()
	if !ok {
		return time.Time{}, false
	}
	return m.read.Source.Terms().Start.Add(by), true
}

// Touch asks nsqd for another message timeout, counted from now, and extends the handler's
// context accordingly. Neither goes beyond nsqd's max-msg-timeout (15 minutes by default) after
// delivery. nsqd does not answer a TOUCH.
//
// The error is [ErrSettled], [ErrMessageTimeout] if it is too late, or [ErrConnLost].
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
	o.ensureExtra().touched.Store(int64(now))
	return nil
}

// WithBody returns the same delivery with another body, such as a decrypted or decompressed
// payload, for the next handler of a chain. Everything else is shared with m: headers, TOUCH,
// outcome. A dead letter carries the original body, and FromContext returns the original
// message.
//
// body is not searched for an envelope. It is decoded even if the envelope of m cannot be read.
func (m *Message) WithBody(body []byte) *Message {
	o := m.origin()
	d := &Message{ID: o.ID, Attempts: o.Attempts, Body: body, derived: true}
	d.read, d.timestamp = o.read, o.timestamp
	d.extra.Store(&extra{origin: o})
	return d
}

// origin returns m, or the message that WithBody was called on.
func (m *Message) origin() *Message {
	if m.derived {
		return m.extra.Load().origin
	}
	return m
}

// Outcome returns what nsqd hears about the delivery. The Disposition is Pending until the
// consumer has decided, which happens after the handler and the consumer's middleware have
// returned.
func (m *Message) Outcome() Outcome {
	o := m.origin()
	if x := o.extra.Load(); x != nil && x.outcome.Disposition != Pending {
		return x.outcome
	}
	return Outcome{Disposition: o.disposition}
}

// String identifies the delivery. It prints neither body nor headers.
func (m *Message) String() string {
	return fmt.Sprintf("message %s of %s/%s from %s, attempt %d", m.ID, m.Topic(), m.Channel(), m.NSQD(), m.Attempts)
}

// GoString returns the same as String, so that %#v prints neither body nor headers.
func (m *Message) GoString() string { return m.String() }

// LogValue logs the message as a group of its metadata, without body and headers.
func (m *Message) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", m.ID.String()),
		slog.String("topic", m.Topic()),
		slog.String("channel", m.Channel()),
		slog.String("nsqd", m.NSQD()),
		slog.Int("attempts", int(m.Attempts)),
	)
}
