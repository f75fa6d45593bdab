package nsqxtest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// MessageOption is an option of [Message], [Deliver], [Handle] and [Server.PublishMessage]. Nil
// options are ignored. The last option of a kind wins.
type MessageOption interface{ applyMessage(*messageConfig) }

type messageOption func(*messageConfig)

func (o messageOption) applyMessage(c *messageConfig) { o(c) }

type messageConfig struct {
	id             handler.ID
	attempts       uint16
	timestamp      time.Time
	delay          time.Duration
	headers        envelope.Writer
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

// WithID sets the message id. Defaults to 0000000000000001; a [Server] counts.
func WithID(id handler.ID) MessageOption {
	return messageOption(func(c *messageConfig) { c.id = id })
}

// WithAttempts sets how often the message has been delivered, including this delivery, or a
// server's first. Defaults to 1. 0 follows 65535.
func WithAttempts(n uint16) MessageOption {
	return messageOption(func(c *messageConfig) { c.attempts = n })
}

// WithTimestamp sets when nsqd accepted the message. Defaults to now.
func WithTimestamp(t time.Time) MessageOption {
	return messageOption(func(c *messageConfig) { c.timestamp = t })
}

// WithDelay defers the first delivery of [Server.PublishMessage]; elsewhere it has no effect.
// Defaults to 0.
func WithDelay(d time.Duration) MessageOption {
	return messageOption(func(c *messageConfig) { c.delay = d })
}

// WithTopic sets the topic and the channel of the message. Defaults to "topic" and "channel".
// [Server.PublishMessage] ignores it.
func WithTopic(topic, channel string) MessageOption {
	return messageOption(func(c *messageConfig) { c.topic, c.channel = topic, channel })
}

// WithContext sets the parent of the message's context, which provides values, cancellation and
// cause. The parent must not have a deadline. A parent cancelled with the cause
// [handler.ErrShutdown] or [handler.ErrConnLost] simulates a shutdown or a lost connection.
// Defaults to the context of the test, and for [Message] to [context.Background].
// [Server.PublishMessage] ignores it.
func WithContext(ctx context.Context) MessageOption {
	return messageOption(func(c *messageConfig) { c.ctx = ctx })
}

// WithTouch sets a function that each TOUCH of the message calls; TOUCH returns its error.
// Defaults to nil: TOUCH succeeds. [Server.PublishMessage] ignores it.
func WithTouch(touch func() error) MessageOption {
	return messageOption(func(c *messageConfig) { c.touch = touch })
}

// Message makes a message without an nsqd, for the test of a middleware or of any function that
// takes a [handler.Message]. The message was received just now and has nsqd's default timeouts.
// See [Touches].
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
	m.Init(&handler.Read{Source: s}, cfg.id, cfg.attempts, cfg.timestamp.UnixNano(), cfg.body(body))
	return m.Message()
}

// Touches returns how often m was touched, or 0 if m was not made by this package.
func Touches(m *handler.Message) int {
	if s, ok := (*handler.Delivery)(m).Source().(*source); ok {
		return int(s.touches.Load())
	}
	return 0
}

// source is the handler.Source of a single message.
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
