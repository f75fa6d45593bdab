package nsqx

import (
	"context"
	"fmt"

	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/consume"
)

// Consumer passes the messages of one channel to a handler, and tells nsqd the outcome of each
// delivery. The first matching row decides:
//
//	when                                              nsqd hears     disposition
//	the connection is gone                            nothing        lost
//	nil, also late                                    FIN            finish
//	failed when nsqd no longer waits for an answer    nothing        expired
//	failed, and the shutdown ended its ctx            REQ 0          interrupted
//	retry.Drop                                        FIN            drop
//	retry.After(d, nil)                               REQ d          requeue
//	retry.Permanent, or the retry policy says stop    dead letter¹   dead_letter, drop
//	the payload does not decode                       dead letter²   dead_letter, requeue
//	MaxAttempts or MaxAge is reached                  dead letter    dead_letter
//	retry.After(d, err), any other error, a panic     REQ delay      requeue
//
// A dead letter is published and confirmed before the FIN; if that fails the message is requeued. ¹
// Without a dead letter: FIN, and an error in the log. ² Without one: like any other error, since a
// newer release of the service may read the payload.
//
// Only a failed run gives a message up: deliveries that no handler saw, because of a restart or a
// timeout in a queue, count as attempts but do not end a message. The exception is a message that
// seems to kill the process: at more than 2 × MaxAttempts + 8 attempts it takes the row of
// MaxAttempts unhandled.
type Consumer[T any] struct{ c *consume.Consumer }

// NewConsumer returns a consumer of a channel of a topic. c decodes each message, fn handles it. No
// connection is made before [Consumer.Run].
//
// The error joins all faults of the arguments: an [*OptionError] for each, which names the option
// or argument and what is allowed, a [*conn.ConfigError] for a field of a [conn.Config], and the
// error of the codec's Validate method, if it has one.
//
// Defaults:
//
//	concurrency            16                                WithConcurrency
//	messages in flight     automatic                         WithMaxInFlight
//	their bodies           64 MiB                            WithMaxInFlightBytes
//	backoff                opens at 90 % failures of         WithBackoff, WithoutBackoff
//	                       20 results or more in 10 s;
//	                       1 s doubling to 60 s
//	retry                  1 s doubling to 10 min,           WithRetry
//	                       with jitter, without limit
//	attempts, age          unlimited                         WithMaxAttempts, WithMaxAge
//	dead letter            none                              WithDeadLetter, WithDeadLetterFunc,
//	                                                         WithDiscard
//	message timeout        the server's                      WithMessageTimeout
//	longest requeue delay  1 h                               WithMaxRequeueDelay
//	shutdown               20 s                              WithShutdownTimeout
//	nsqlookupds            polled every 60 s ± 20 %          WithLookupInterval, WithLookupdClient
//	discovered nsqds       256 at most, all of them          WithMaxNSQDs, WithNSQDFilter
//	redial                 100 ms doubling to 10 s,
//	                       with jitter
//	connections            see conn.Config                   WithConn
//	logger                 slog.Default()                    WithLogger
func NewConsumer[T any](topic, channel string, c codec.Codec[T], fn handler.Func[T], opts ...ConsumerOption) (*Consumer[T], error) {
	cfg := newConsumerConfig(topic, channel, opts)
	var raw handler.Raw
	if c == nil {
		cfg.fault("codec", "is nil; pass one, such as codec.JSON[T]()")
	} else if v, ok := c.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			cfg.faults = append(cfg.faults, err)
		}
	}
	if fn == nil {
		cfg.fault("handler", "is nil")
	}
	if c != nil && fn != nil {
		raw = handler.Typed(c, fn)
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Consumer[T]{consume.New(cfg.consume, raw)}, nil
}

// Run connects to every configured or discovered nsqd, redials those that are down, and handles
// messages until ctx is cancelled. nsqd may start after the service. Handlers inherit the values of
// ctx, not its cancellation.
//
// Then Run drains. nsqd is told to send no more, and messages that no handler has started are
// requeued. Running handlers may finish within [WithShutdownTimeout]; then their contexts end with
// [handler.ErrShutdown], and they have one more second. Run returns nil if every message was
// answered and every nsqd confirmed that it has read the answers; otherwise a [*ShutdownError].
//
// Run returns within the shutdown timeout and two seconds, and leaves no goroutine except handlers
// that ignore their contexts and hooks that do not return. It waits longer only for a DialContext
// or AuthSecret of [conn.Config] or a [Discoverer] that ignores its context, and for the stop
// function of the telemetry.
//
// A second Run returns [ErrAlreadyRun]. A handler must not wait for Run, but may cancel ctx.
func (c *Consumer[T]) Run(ctx context.Context) error { return c.c.Run(ctx) }

// Process runs a message through the consumer's chain without a connection, for tests, and returns
// what nsqd would hear. Dead letters are published. ctx is the handler's; m.Context() is that of
// production. See package nsqxtest.
func (c *Consumer[T]) Process(ctx context.Context, m *handler.Message) handler.Outcome {
	return c.c.Process(ctx, m)
}

// Stats returns the consumer's counters and the state of its connections.
func (c *Consumer[T]) Stats() Stats { return c.c.Stats() }

// Ready returns a channel that is closed once every known nsqd was subscribed to at least once and,
// if there are sources of nsqds, one has answered. That no nsqd is known is no obstacle, since the
// first message creates a topic.
func (c *Consumer[T]) Ready() <-chan struct{} { return c.c.Ready() }

// Healthy returns nil if an nsqd is connected or the topic does not exist yet. Otherwise the error
// is [ErrNotRunning] (also during the shutdown), [ErrStuck], or [ErrNoNSQD] with the reasons.
func (c *Consumer[T]) Healthy() error { return c.c.Healthy() }

// Pause starts no further handler until [Consumer.Resume]: nothing is requested, and messages that
// wait for a handler are requeued. Running handlers finish, connections stay. It may be called
// before Run.
func (c *Consumer[T]) Pause() { c.c.Pause() }

// Resume ends [Consumer.Pause].
func (c *Consumer[T]) Resume() { c.c.Resume() }

// SetConcurrency changes [WithConcurrency]. Running handlers finish, even if they are too many. The
// error is an [*OptionError].
func (c *Consumer[T]) SetConcurrency(n int) error {
	if n < 1 || n > maxConcurrency {
		return &OptionError{Option: "SetConcurrency", Reason: fmt.Sprintf("is %d, want 1 to %d", n, maxConcurrency)}
	}
	c.c.SetConcurrency(n)
	return nil
}

// SetMaxInFlight changes [WithMaxInFlight]. nsqd takes no message back: a lower limit holds once
// handlers have answered those above it. The error is an [*OptionError].
func (c *Consumer[T]) SetMaxInFlight(n int) error {
	if n < 0 || n > maxInFlight {
		return &OptionError{Option: "SetMaxInFlight", Reason: fmt.Sprintf("is %d, want 0 to %d", n, maxInFlight)}
	}
	c.c.SetMaxInFlight(n)
	return nil
}
