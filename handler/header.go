package handler

import (
	"iter"

	"github.com/nsqx/nsqx/envelope"
)

// open takes the envelope off the body. A message whose envelope cannot be read is delivered
// all the same; Typed reports the error.
func (m *Message) open() {
	h, payload, err := envelope.Split(m.Body)
	x := m.read.newExtra()
	x.enveloped, x.raw = true, m.Body
	m.extra.Store(x)
	var state uint32
	if _, ok := h.Get(envelope.RedriveChannel); ok {
		state = addressed
	}
	if isScheduled(h) {
		state |= scheduled
	}
	if err == nil {
		m.Body = payload
	} else {
		state |= unreadable
	}
	m.state.Store(state)
}

// envelopeError returns why the envelope cannot be read; nil if it can.
func (m *Message) envelopeError() error {
	if m.state.Load()&unreadable == 0 {
		return nil
	}
	_, _, err := envelope.Split(m.RawBody())
	return err
}

// RawBody returns the body as it was received, including the envelope if there is one. A dead
// letter carries it, and [envelope.Split] finds the headers in it without a copy. WithBody does
// not change it. As Body, it is valid until the message is settled, and then nil.
func (m *Message) RawBody() []byte {
	x := m.envelope()
	if x == nil {
		return m.origin().Body
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.raw
}

// envelope returns the extra that holds the envelope; nil if the message has none.
func (m *Message) envelope() *extra {
	if x := m.origin().extra.Load(); x != nil && x.enveloped {
		return x
	}
	return nil
}

// Header returns the value of a header; "" if the message does not have it. Keys are compared
// without regard to the case of ASCII letters. The string is a copy and may be kept.
//
// Everybody who can publish to the topic can set headers: treat them as input. There are none
// once the message is settled, and none in an envelope that is malformed or of a newer version.
func (m *Message) Header(key string) string {
	value, _ := m.header(key)
	return value
}

func (m *Message) header(key string) (value string, ok bool) {
	x := m.envelope()
	if x == nil {
		return "", false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	h, _, _ := envelope.Split(x.raw)
	v, ok := h.Get(key)
	return string(v), ok
}

// Headers ranges over all headers in the order in which they were written. Keys are in lower
// case. For the values see [Message.Header].
func (m *Message) Headers() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if x := m.envelope(); x != nil {
			w := x.headers()
			w.All()(yield)
		}
	}
}

// headers returns copies, so that user code runs without the lock.
func (x *extra) headers() envelope.Writer {
	x.mu.Lock()
	defer x.mu.Unlock()
	w, _, _ := envelope.WriterOf(x.raw)
	return w
}

func (x *extra) dropRaw() {
	if x.enveloped {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.raw = nil
	}
}
