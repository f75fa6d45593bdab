package publish

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/wire"
)

// roomSize is how many bytes of bodies are allocated together, at most, unless one is larger.
const roomSize = 64 << 10

var errNoRoom = errors.New("nsqx: the message has no room for what must go with it: it would be larger than nsqd accepts (MaxMessageSize of conn.Config)")

// encodeHeaders appends to dst the bodies that go to nsqd: in an envelope if there are headers
// and they may be sent, or if a payload begins like one. A body that would exceed MaxMessageSize
// with headers goes without, and is counted; but it is an error if one of them is required.
func (r *Router) encodeHeaders(dst [][]byte, out *handler.Outgoing) ([][]byte, error) {
	dst = slices.Grow(dst, len(out.Messages))
	var both mergedHeaders
	room := room{messages: len(out.Messages)}
	for i := range out.Messages {
		m := &out.Messages[i]
		headers, body := both.of(out, m), m.Body
		if wrap := !out.Raw && envelope.Is(body); wrap || headers.Len() > 0 {
			var err error
			if body, err = r.encode(&room, headers, body, out.Envelope, wrap); err != nil {
				return dst, err
			}
		}
		dst = append(dst, body)
	}
	return dst, nil
}

// room is memory for bodies to come.
type room struct {
	free     []byte
	messages int // of the publish
}

// encode is AppendTo, with one allocation for many bodies.
func (m *room) encode(headers *envelope.Writer, body []byte) []byte {
	size := headers.Size(body)
	if cap(m.free)-len(m.free) < size {
		m.free = make([]byte, 0, max(size, min(size*m.messages, roomSize)))
	}
	start := len(m.free)
	m.free = headers.AppendTo(m.free, body)
	m.messages--
	return m.free[start:len(m.free):len(m.free)]
}

// encode puts headers before one body, if they may be sent.
func (r *Router) encode(room *room, headers *envelope.Writer, body []byte, sent, wrap bool) ([]byte, error) {
	key, required := headers.Required()
	if !sent {
		switch {
		case required:
			return nil, fmt.Errorf("nsqx: header %.64q must go with the message, and the producer sends no headers: see WithEnvelope", key)
		case !wrap:
			return body, nil
		}
		headers = new(envelope.Writer)
	}
	defer func(w *envelope.Writer, limit int, verbatim bool) { w.Limit, w.Verbatim = limit, verbatim }(headers, headers.Limit, headers.Verbatim)
	headers.Verbatim = headers.Verbatim || wrap
	excess := headers.Size(body) - r.limits.MaxMessageSize
	switch {
	case required && !headers.Complete(body):
		return nil, fmt.Errorf("nsqx: header %.64q must go with the message, and an envelope has no room for all such headers", key)
	case excess <= 0:
		return room.encode(headers, body), nil
	case !required && !wrap:
		r.skipped.Add(1)
		return body, nil
	case !required:
		r.skipped.Add(1)
		headers = &envelope.Writer{Verbatim: true}
	default:
		headers.Limit = 1 // what is required alone
	}
	if headers.Size(body) > r.limits.MaxMessageSize {
		if len(body) > r.limits.MaxMessageSize { // without headers, too
			return nil, wire.CheckBody(body, r.limits.MaxMessageSize)
		}
		return nil, errNoRoom
	}
	if required {
		r.skipped.Add(1) // the others are left out
	}
	return room.encode(headers, body), nil
}

// mergedHeaders merges the common headers of a publish with those of its messages, one after
// the other. It holds the common headers between two calls of of, and is empty until a message
// needs a merge.
type mergedHeaders struct {
	headers envelope.Writer
	own     *envelope.Writer // merged into headers at present; nil for none
}

// of returns the headers of a message, which are valid until the next call.
func (h *mergedHeaders) of(out *handler.Outgoing, m *handler.OutgoingMessage) *envelope.Writer {
	common := &out.Headers
	switch {
	case m.Headers.Len() == 0:
		return common
	case common.Len() == 0 && (m.Headers.Limit > 0 || common.Limit <= 0):
		return &m.Headers
	}
	if h.headers.Len() == 0 {
		for key, value := range common.All() {
			_ = h.headers.Set(key, value) // cannot fail: common holds it
		}
	}
	if h.own != nil {
		for key := range h.own.All() {
			if value, ok := common.Get(key); ok {
				_ = h.headers.Set(key, value)
			} else {
				h.headers.Delete(key)
			}
		}
	}
	for key, value := range m.Headers.All() {
		_ = h.headers.Set(key, value)
	}
	h.headers.Limit, h.own = cmp.Or(max(m.Headers.Limit, 0), common.Limit), &m.Headers
	return &h.headers
}
