package gonsq

import "github.com/nsqio/go-nsq"

// Types of go-nsq itself, so that code which holds such values compiles and works unchanged.
type (
	Config              = nsq.Config
	ConfigFlag          = nsq.ConfigFlag
	ConsumerStats       = nsq.ConsumerStats
	DiscoveryFilter     = nsq.DiscoveryFilter
	FailedMessageLogger = nsq.FailedMessageLogger
	Handler             = nsq.Handler
	HandlerFunc         = nsq.HandlerFunc
	LogLevel            = nsq.LogLevel
	Message             = nsq.Message
	MessageDelegate     = nsq.MessageDelegate
	MessageID           = nsq.MessageID
	ProducerTransaction = nsq.ProducerTransaction

	BackoffStrategy     = nsq.BackoffStrategy
	ExponentialStrategy = nsq.ExponentialStrategy
	FullJitterStrategy  = nsq.FullJitterStrategy

	ErrIdentify = nsq.ErrIdentify
	ErrProtocol = nsq.ErrProtocol
)

// VERSION is that of the go-nsq whose types these are.
const VERSION = nsq.VERSION

// MsgIDLength is the length of a MessageID.
const MsgIDLength = nsq.MsgIDLength

// Levels of a log, and the highest of them.
const (
	LogLevelDebug   = nsq.LogLevelDebug
	LogLevelInfo    = nsq.LogLevelInfo
	LogLevelWarning = nsq.LogLevelWarning
	LogLevelError   = nsq.LogLevelError
	LogLevelMax     = nsq.LogLevelMax
)

// Errors of go-nsq. Compare with [errors.Is]: an error of a publish wraps nsqx's, too.
var (
	ErrNotConnected     = nsq.ErrNotConnected
	ErrStopped          = nsq.ErrStopped
	ErrClosing          = nsq.ErrClosing
	ErrAlreadyConnected = nsq.ErrAlreadyConnected
	ErrOverMaxInFlight  = nsq.ErrOverMaxInFlight
)

// NewConfig returns a Config with go-nsq's defaults. A Config must be made by it.
func NewConfig() *Config { return nsq.NewConfig() }

// NewMessage returns a message without a Delegate, for tests.
func NewMessage(id MessageID, body []byte) *Message { return nsq.NewMessage(id, body) }

// DecodeMessage reads a message as Message.WriteTo writes it.
func DecodeMessage(b []byte) (*Message, error) { return nsq.DecodeMessage(b) }

// IsValidTopicName reports whether nsqd accepts the name of a topic.
func IsValidTopicName(name string) bool { return nsq.IsValidTopicName(name) }

// IsValidChannelName reports whether nsqd accepts the name of a channel.
func IsValidChannelName(name string) bool { return nsq.IsValidChannelName(name) }
