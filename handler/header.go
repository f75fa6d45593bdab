package handler

import (
	"iter"

	"github.com/nsqx/nsqx/envelope"
)

// open takes the envelope off the body. If it cannot be read, the message goes
// its way nevertheless: what is wrong is the answer of Typed.
func (m *Message) open() {
	_, payload, err := envelope.Split(m.Body)
	x := m.read.newExtra()
	x.enveloped, x.raw = true, m.Body
	m.extra.Store(x)
	if err != nil {
		m.state.Store(unreadable)
		return
	}
	m.Body = payload
}

// envelopeError is what keeps Body from being decoded: it begins with an envelope
// that cannot be read.
func (m *Message) envelopeError() error {
	if m.state.Load()&unreadable == 0 {
		return nil
	}
	_, _, err := envelope.Split(m.RawBody())
	return err
}

// RawBody returns the body as it came, with the envelope if it has one: it is
// what a dead letter carries, and what [envelope.Split] finds the headers in
// without a copy. WithBody does not change it. It is lent as Body is: after
// Release it is nil.
func (m *Message) RawBody() []byte {
	x := m.envelope()
	if x == nil {
		return m.origin().Body
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.raw
}

// envelope returns what holds the envelope; nil if m came without one.
func (m *Message) envelope() *extra {
	if x := m.origin().extra.Load(); x != nil && x.enveloped {
		return x
	}
	return nil
}

// Header returns the value of a header, or "" if the message came without it.
// Keys are compared without regard to the case of ASCII letters. The string is a
// copy and may be kept. Headers come from whoever can publish to the topic: they
// are input.
//
// There are none after Release, and none in an envelope that is malformed or too
// new to be read.
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

// Headers ranges over the keys, in lower case, and the values of all headers, in
// the order in which they were written. What Header says of the value holds here
// too.
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

// dropRaw takes the body away.
func (x *extra) dropRaw() {
	if x.enveloped {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.raw = nil
	}
}
