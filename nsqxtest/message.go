package nsqxtest

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// MessageOption is an option of [Message], [Deliver], [Handle] and [Server.PublishMessage]. A nil one is ignored, and of one
// that is given twice the last one counts.
type MessageOption interface{ applyMessage(*messageConfig) }

type messageOption func(*messageConfig)

func (o messageOption) applyMessage(c *messageConfig) { o(c) }

type messageConfig struct {
	id             handler.ID
	attempts       uint16
	timestamp      time.Time
	delay          time.Duration
	topic, channel string
	ctx            context.Context
	touch          func() error
}

func newMessageConfig(opts []MessageOption) *messageConfig {
	c := &messageConfig{
		attempts:  1,
		timestamp: time.Now(),
		topic:     "topic",
		channel:   "channel",
		ctx:       context.Background(),
	}
	for _, o := range opts {
		if o != nil {
			o.applyMessage(c)
		}
	}
	return c
}

// WithID sets the message's id. Defaults to 0000000000000001; a [Server] counts.
func WithID(id handler.ID) MessageOption {
	return messageOption(func(c *messageConfig) { c.id = id })
}

// WithAttempts sets how often the message has been delivered, this delivery, or the first of a server, included. Defaults
// to 1. 0 is what comes after 65535.
func WithAttempts(n uint16) MessageOption {
	return messageOption(func(c *messageConfig) { c.attempts = n })
}

// WithTimestamp sets when nsqd has accepted the message. Defaults to now.
func WithTimestamp(t time.Time) MessageOption {
	return messageOption(func(c *messageConfig) { c.timestamp = t })
}

// WithDelay defers the message's first delivery by a [Server]. Elsewhere it does nothing. Defaults to 0.
func WithDelay(d time.Duration) MessageOption {
	return messageOption(func(c *messageConfig) { c.delay = d })
}

// WithTopic sets the topic and the channel that the message says it comes from. They default to "topic" and "channel". A
// [Server] goes by the topic that it publishes to.
func WithTopic(topic, channel string) MessageOption {
	return messageOption(func(c *messageConfig) { c.topic, c.channel = topic, channel })
}

// WithContext sets what the message's context is made of: its values, and its end, with its cause. It must not have a
// deadline. Pass one that is cancelled with [handler.ErrShutdown] or [handler.ErrConnLost] to play those. Defaults to
// the test's context, and to [context.Background] for [Message]; a [Server] does not need it.
func WithContext(ctx context.Context) MessageOption {
	return messageOption(func(c *messageConfig) { c.ctx = ctx })
}

// WithTouch sets what each TOUCH of the message calls, and returns. Defaults to nil: touching succeeds. A [Server] does
// not need it.
func WithTouch(touch func() error) MessageOption {
	return messageOption(func(c *messageConfig) { c.touch = touch })
}

// Message makes a delivery that comes from no nsqd, for the test of a middleware or of anything that takes a
// [handler.Message]. It was received just now, and has nsqd's default timeouts. See [Touches].
func Message(body []byte, opts ...MessageOption) *handler.Message {
	cfg := newMessageConfig(opts)
	if cfg.id == (handler.ID{}) {
		cfg.id = handler.ID([]byte("0000000000000001"))
	}
	s := &source{cfg: cfg, terms: handler.Terms{
		Start:             time.Now(),
		MessageTimeout:    time.Minute,
		MaxMessageTimeout: 15 * time.Minute,
		Margin:            250 * time.Millisecond,
	}}
	m := new(handler.Delivery)
	m.Init(&handler.Read{Source: s}, cfg.id, cfg.attempts, cfg.timestamp.UnixNano(), bytes.Clone(body))
	return m.Message()
}

// Touches returns how often a message of this package was touched; 0 for any other.
func Touches(m *handler.Message) int {
	if s, ok := (*handler.Delivery)(m).Source().(*source); ok {
		return int(s.touches.Load())
	}
	return 0
}

// source is where a single message comes from.
type source struct {
	cfg     *messageConfig
	terms   handler.Terms
	touches atomic.Int64
}

func (s *source) Topic() string            { return s.cfg.topic }
func (s *source) Channel() string          { return s.cfg.channel }
func (s *source) NSQD() string             { return "" }
func (s *source) Context() context.Context { return s.cfg.ctx }
func (s *source) Terms() *handler.Terms    { return &s.terms }

func (s *source) Touch(*handler.Delivery) error {
	s.touches.Add(1)
	if s.cfg.touch != nil {
		return s.cfg.touch()
	}
	return nil
}
