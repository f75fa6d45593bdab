package handler

import "context"

// header is a link of the list of headers that WithHeader has set, the latest first.
type header struct {
	before     *header
	key, value string
}

type headerKey struct{}

// WithHeader returns a context under which every publish carries a header. Several add up; of
// two with the same key the later one counts. A producer sends headers only with WithEnvelope.
//
// A key has 1 to 127 printable ASCII characters and no space; it is sent in lower case. A value
// is UTF-8 without control characters, at most 16383 bytes. Any other header fails the publish
// with an [*github.com/nsqx/nsqx/envelope.HeaderError].
//
// The context of a handler carries the headers of the context that Run got, but not those of
// the message: see [Forward].
func WithHeader(ctx context.Context, key, value string) context.Context {
	before, _ := ctx.Value(headerKey{}).(*header)
	return context.WithValue(ctx, headerKey{}, &header{before, key, value})
}

// ContextHeaders is the [SendMiddleware] that adds the headers of [WithHeader] to
// Outgoing.Headers, where they replace those with the same keys. Producers have it already. Use
// it around a Send of your own.
func ContextHeaders(next Send) Send {
	return func(ctx context.Context, out *Outgoing) error {
		if h, ok := ctx.Value(headerKey{}).(*header); ok {
			if err := h.apply(out); err != nil {
				return err
			}
		}
		return next(ctx, out)
	}
}

func (h *header) apply(out *Outgoing) error {
	if h.before != nil {
		if err := h.before.apply(out); err != nil {
			return err
		}
	}
	return out.Headers.Set(h.key, h.value)
}

// Forward returns a [SendMiddleware] that copies headers from the message that is being handled
// to what its handler publishes, unless Outgoing.Headers has them already. Headers that the
// message does not have are skipped. Nothing is copied once the message is settled.
func Forward(keys ...string) SendMiddleware {
	return func(next Send) Send {
		return func(ctx context.Context, out *Outgoing) error {
			if m, ok := ctx.Value(messageKey{}).(*Message); ok && m != nil {
				m.forward(keys, out)
			}
			return next(ctx, out)
		}
	}
}

func (m *Message) forward(keys []string, out *Outgoing) {
	for _, key := range keys {
		if _, set := out.Headers.Get(key); set {
			continue
		}
		if value, ok := m.header(key); ok {
			_ = out.Headers.Set(key, value) // a header that cannot be sent is skipped
		}
	}
}
