package handler

import "context"

// header is one of those that WithHeader has set, after the ones before it.
type header struct {
	before     *header
	key, value string
}

type headerKey struct{}

// WithHeader returns a context under which all that is published carries a header.
// Several add up; of two with the same key the later counts. A producer sends
// headers only if it has WithEnvelope.
//
// A key has 1 to 127 printable ASCII characters without a space, and goes out in
// lower case; a value is UTF-8 without control characters, at most 16383 bytes.
// A header that is not so fails the publish with an [*github.com/nsqx/nsqx/envelope.HeaderError].
//
// The context of a handler carries the headers that Run's ctx has, and not those
// of the message: see [Forward].
func WithHeader(ctx context.Context, key, value string) context.Context {
	before, _ := ctx.Value(headerKey{}).(*header)
	return context.WithValue(ctx, headerKey{}, &header{before, key, value})
}

// ContextHeaders is the [SendMiddleware] that gives an Outgoing the headers of
// [WithHeader]; they replace those of the same keys. Producers have it already: it
// is for those who make a Send of their own.
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

// Forward returns a [SendMiddleware] that hands headers on: what is published under
// the context of a handler gets those of the message that is being handled, as far
// as it has them and they are not set already. Nothing is forwarded once the
// message is settled.
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
			_ = out.Headers.Set(key, value) // what cannot be carried stays behind
		}
	}
}
