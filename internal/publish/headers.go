package publish

import (
	"cmp"
	"slices"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// roomSize is how many bytes of bodies are allocated together, at most, unless one is larger.
const roomSize = 64 << 10

// encodeHeaders appends to dst the bodies that go to nsqd: in an envelope if there are headers
// and they may be sent. A body that would exceed MaxMessageSize with them goes without, and is
// counted.
func (r *Router) encodeHeaders(dst [][]byte, out *handler.Outgoing) [][]byte {
	dst = slices.Grow(dst, len(out.Messages))
	var both mergedHeaders
	var room []byte // for bodies to come
	for i := range out.Messages {
		m := &out.Messages[i]
		headers, body, size := both.of(out, m), m.Body, 0
		enveloped := out.Envelope && headers.Len() > 0
		if enveloped {
			size = headers.Size(body)
		}
		switch {
		case !enveloped:
		case size > r.limits.MaxMessageSize:
			r.skipped.Add(1)
		default:
			if cap(room)-len(room) < size { // one allocation for many
				room = make([]byte, 0, max(size, min(size*(len(out.Messages)-i), roomSize)))
			}
			start := len(room)
			room = headers.AppendTo(room, body)
			body = room[start:len(room):len(room)]
		}
		dst = append(dst, body)
	}
	return dst
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
