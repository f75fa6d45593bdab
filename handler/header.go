package handler

import (
	"iter"
	"sync"

	"github.com/nsqx/nsqx/envelope"
)

// enveloped is the source of a message that came with an envelope. It stands in
// for the true one, so that other messages need no room for it.
type enveloped struct {
	Source

	mu  sync.Mutex // whoever forwards headers may do so while the message is released
	raw []byte     // the body as it came; nil when the message is settled
}

// open takes the envelope off the body. If it cannot be read, the message goes
// its way nevertheless: what is wrong is the answer of Typed.
func (m *Message) open() {
	_, payload, err := envelope.Split(m.Body)
	m.src = &enveloped{Source: m.src, raw: m.Body}
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
	e, ok := m.src.(*enveloped)
	if !ok {
		return m.origin().Body
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.raw
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
	e, ok := m.src.(*enveloped)
	if !ok {
		return "", false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	h, _, _ := envelope.Split(e.raw)
	v, ok := h.Get(key)
	return string(v), ok
}

// Headers ranges over the keys, in lower case, and the values of all headers, in
// the order in which they were written. What Header says of the value holds here
// too.
func (m *Message) Headers() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if e, ok := m.src.(*enveloped); ok {
			w := e.headers()
			w.All()(yield)
		}
	}
}

// headers returns copies, so that user code runs without the lock.
func (e *enveloped) headers() envelope.Writer {
	e.mu.Lock()
	defer e.mu.Unlock()
	w, _, _ := envelope.WriterOf(e.raw)
	return w
}

// close takes the body away.
func (e *enveloped) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.raw = nil
}
