package handler

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/envelope"
)

// Message is one delivery of a message by one nsqd. A redelivery is another
// Message.
//
// Its methods are safe for concurrent use, but for Outcome, SetOutcome and
// Release, which belong to the goroutine that handles the message. Fields must
// not be written to.
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

// Init makes m a delivery that was read with r; nil if it comes from no source.
// timestamp is nsqd's, in nanoseconds since 1970. If body has an envelope, Body
// becomes what follows it; only a message of no source keeps the body as it is.
//
// Init is for those who make messages: connections and tests. m must be zero, and
// what was read together is to be made by one goroutine, before the first of it is
// released.
func (m *Message) Init(r *Read, id ID, attempts uint16, timestamp int64, body []byte) {
	m.ID, m.Attempts, m.Body = id, attempts, body
	m.read, m.timestamp = r, timestamp
	if r == nil {
		return
	}
	r.messages++
	if envelope.Is(body) {
		m.open()
	}
}

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

// Source returns where the message came from; nil for the zero Message.
func (m *Message) Source() Source {
	if m.read == nil {
		return nil
	}
	return m.read.Source
}

// Read returns what the message has in common with others; nil if it is of no
// source.
func (m *Message) Read() *Read { return m.read }

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
	by, ok := m.AnswerBy()
	if !ok {
		return time.Time{}, false
	}
	return m.read.Source.Terms().Start.Add(by), true
}

// AnswerBy is Deadline as an instant counted from Terms.Start. After it only a
// success may be answered. Of a delivery that has expired it is in the past.
func (m *Message) AnswerBy() (instant time.Duration, ok bool) {
	o := m.origin()
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

// Answerable says whether nsqd certainly still waits for an answer.
func (m *Message) Answerable() bool {
	by, ok := m.AnswerBy()
	return !ok || m.read.Source.Terms().Now() < by
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
	case !o.Answerable():
		return ErrMessageTimeout
	}
	src := o.read.Source
	now := src.Terms().Now()
	if err := src.Touch(o); err != nil {
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

// SetOutcome records what was decided. It is for the consumer, which calls it
// from the goroutine of the handler.
func (m *Message) SetOutcome(out Outcome) {
	o := m.origin()
	o.disposition = out.Disposition
	if out.Err != nil || out.Delay != 0 {
		o.more().outcome = out
	} else if x := o.extra.Load(); x != nil {
		x.outcome = out
	}
}

// Claim takes the right to answer the delivery. It returns true once, whoever
// asks first: a delivery is settled once. It is for the consumer: a message that
// a handler has claimed is never answered.
func (m *Message) Claim() bool {
	return m.origin().state.Or(claimed)&claimed == 0
}

// End is Claim by the one whose handler has returned: it also ends the context of
// the handler, at once. Release is still to be called.
func (m *Message) End() bool {
	first := m.state.Or(claimed|ended)&claimed == 0
	m.endChild()
	return first
}

// Claimed says whether somebody has claimed the delivery.
func (m *Message) Claimed() bool { return m.origin().state.Load()&claimed != 0 }

// Release ends the context of the handler, takes body and headers away and gives
// their memory back. It is for the consumer, which calls it once, when neither handler nor
// middleware nor dead letter can read the body any more.
func (m *Message) Release() {
	before := m.state.Or(ended | released)
	m.endChild()
	m.dropBody()
	if before&released == 0 && !m.derived && m.read != nil {
		m.read.release(1)
	}
}

func (m *Message) dropBody() {
	m.Body = nil
	if x := m.extra.Load(); x != nil {
		x.dropRaw()
	}
}

// ReleaseAll releases messages that have a source, and on which End was called, as
// Release does. It is the last that is called of them.
func ReleaseAll(msgs []Message) {
	var r *Read
	n := 0
	for i := range msgs {
		m := &msgs[i]
		m.dropBody()
		if m.state.Load()&released != 0 { // by whom it does not belong to
			continue
		}
		if m.read != r {
			if n > 0 {
				r.release(n)
			}
			r, n = m.read, 0
		}
		n++
	}
	if n > 0 {
		r.release(n)
	}
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
