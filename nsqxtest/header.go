package nsqxtest

import (
	"time"

	"github.com/nsqx/nsqx/envelope"
)

// WithHeader sets a header of the message, whose body then has an envelope. Several add up; of two
// with the same key the last counts. A header that no envelope can carry panics. Defaults to none.
func WithHeader(key, value string) MessageOption {
	return messageOption(func(c *messageConfig) {
		if err := c.headers.Set(key, value); err != nil {
			panic(err)
		}
	})
}

// WithUID sets the UID of the message, as a producer does. See [WithHeader]. Defaults to none.
func WithUID(uid string) MessageOption { return WithHeader(envelope.ID, uid) }

// WithKey sets the Key of the message. See [WithHeader]. Defaults to none.
func WithKey(key string) MessageOption { return WithHeader(envelope.Key, key) }

// WithPublishedAt sets when the producer published the message. See [WithHeader]. Defaults to none.
func WithPublishedAt(t time.Time) MessageOption {
	return WithHeader(envelope.Published, envelope.FormatTime(t))
}

// WithNotBefore sets when a handler may get the message, as PublishAt of a producer does. Until then
// a consumer gives it back. [WithDelay] is nsqd's part of that, which it may forget. See
// [WithHeader]. Defaults to at once.
func WithNotBefore(t time.Time) MessageOption {
	return WithHeader(envelope.NotBefore, envelope.FormatTime(t))
}

// WithExpires sets when the message expires, as nsqx.WithTTL of a producer does. See [WithHeader].
// Defaults to never.
func WithExpires(t time.Time) MessageOption {
	return WithHeader(envelope.Expires, envelope.FormatTime(t))
}

// body returns the body of the message: a copy of payload, in an envelope if there are headers.
func (c *messageConfig) body(payload []byte) []byte { return c.headers.AppendTo(nil, payload) }
