package handler

import (
	"time"

	"github.com/nsqx/nsqx/envelope"
)

// UID returns the id that the producer has given the message: unique everywhere, and the same for
// every delivery on every channel, after a retry of the publish, in a dead letter and when that is
// published again. Deduplicate by it. It is "" for a message without an envelope, as from another
// client, and for one above 255 bytes. Like every header it is input, and "" once the message is
// settled.
func (m *Message) UID() string { return m.id(envelope.ID) }

// Key returns what the producer says that the message belongs to, such as an account; "" if it says
// nothing, or more than 255 bytes. Like every header it is input.
func (m *Message) Key() string { return m.id(envelope.Key) }

func (m *Message) id(key string) string {
	if s := m.Header(key); len(s) <= envelope.MaxID {
		return s
	}
	return ""
}

// PublishedAt returns when the message was published first, by the clock of its producer; the zero
// time if the producer has not said. See Timestamp for the clock of nsqd, which begins anew with each
// copy.
func (m *Message) PublishedAt() time.Time {
	t, _ := m.instant(envelope.Published)
	return t
}

// NotBefore returns the instant before which no handler gets the message; the zero time if there is
// none.
func (m *Message) NotBefore() time.Time {
	t, _ := m.instant(envelope.NotBefore)
	return t
}

// Expires returns the instant after which no handler gets the message any more; the zero time if
// there is none.
func (m *Message) Expires() time.Time {
	t, _ := m.instant(envelope.Expires)
	return t
}

// instant returns the zero time without an error if there is no such header.
func (m *Message) instant(key string) (time.Time, error) {
	value, ok := m.header(key)
	if !ok {
		return time.Time{}, nil
	}
	return envelope.ParseTime(key, value)
}

// isScheduled reports whether headers limit the time of a message. Those of a dead letter are about
// the message that it was.
func isScheduled(h envelope.Header) bool {
	_, early := h.Get(envelope.NotBefore)
	_, late := h.Get(envelope.Expires)
	if !early && !late {
		return false
	}
	_, dead := h.Get(envelope.DeadTopic)
	return !dead
}

// Schedule is the time in which a message may be handled.
type Schedule struct {
	NotBefore time.Time // zero: at once
	Expires   time.Time // zero: for ever
}

// Scheduled reports whether Schedule returns anything but the zero Schedule.
func (d *Delivery) Scheduled() bool { return d.origin().state.Load()&scheduled != 0 }

// Schedule returns the time in which the message may be handled. It is zero for a dead letter, whose
// headers are about the message that it was. The error is an [*envelope.HeaderError] for a header
// that is no instant, or too far in the future to be one.
func (d *Delivery) Schedule() (s Schedule, err error) {
	if !d.Scheduled() {
		return s, nil
	}
	m := d.origin().Message()
	if s.NotBefore, err = m.instant(envelope.NotBefore); err != nil {
		return Schedule{}, err
	}
	if s.Expires, err = m.instant(envelope.Expires); err != nil {
		return Schedule{}, err
	}
	return s, nil
}
