package nsqx

import (
	"context"
	"fmt"

	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/consume"
)

// Consumer hands the messages of one channel of one topic to a handler, and
// tells nsqd what became of each. The first row that fits decides:
//
//	when                                              nsqd hears     disposition
//	the connection is gone                            nothing        lost
//	nil, also late                                    FIN            finish
//	failed when nsqd no longer waits for an answer    nothing        expired
//	failed, and its ctx was ended by the shutdown     REQ 0          interrupted
//	retry.Drop                                        FIN            drop
//	retry.After(d, nil)                               REQ d          requeue
//	retry.Permanent, or the retry policy says stop    dead letter¹   dead_letter, drop
//	the payload does not decode                       dead letter²   dead_letter, requeue
//	MaxAttempts or MaxAge is reached                  dead letter    dead_letter
//	retry.After(d, err), any other error, a panic     REQ delay      requeue
//
// A dead letter is published and confirmed before the FIN; if it cannot be, the
// message is requeued. ¹ Without a dead letter configured: FIN, and an error is
// logged. ² Without one: as any other error, since a newer release of the
// service may read it.
//
// Only a run that failed gives a message up: deliveries that no handler saw
// (restarts, timeouts in a queue) count as attempts for nsqd, but do not end a
// message here. The one exception is a message that seems to kill the process:
// if it arrives with more than 2 × MaxAttempts + 8 attempts, it goes the way of
// MaxAttempts unhandled.
type Consumer[T any] struct{ c *consume.Consumer }

// NewConsumer makes a consumer of a channel of a topic. Each message is decoded
// by c and handed to fn. It connects to nothing yet: see [Consumer.Run].
//
// All that is wrong with the arguments is reported at once: the error joins one
// for each fault, an [*OptionError] that names the option or argument and what
// is allowed, or, for what is in a [conn.Config], a [*conn.ConfigError].
//
// Defaults:
//
//	concurrency           GOMAXPROCS            WithConcurrency
//	messages in flight    automatic             WithMaxInFlight
//	  their bodies        64 MiB                WithMaxInFlightBytes
//	backoff               from 20 results in 10 s of which 90 % fail; 1 s doubling to 60 s   WithBackoff, WithoutBackoff
//	retry                 1 s doubling to 10 min, with jitter; for ever   WithRetry
//	attempts, age         unlimited             WithMaxAttempts, WithMaxAge
//	dead letter           none                  WithDeadLetter, WithDeadLetterFunc, WithDiscard
//	message timeout       the server's          WithMessageTimeout
//	longest requeue delay 1 h                   WithMaxRequeueDelay
//	shutdown              20 s                  WithShutdownTimeout
//	nsqlookupds           asked every 60 s ± 20 %   WithLookupInterval, WithLookupdClient
//	nsqds found           256 at most, all dialled   WithMaxNSQDs, WithNSQDFilter
//	topic and channel     registered at nsqlookupds  WithoutRegistration
//	redial                100 ms doubling to 10 s, with jitter
//	the wire              see conn.Config       WithConn
//	logger                slog.Default()        WithLogger
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

// Run connects to every nsqd that is named or found, keeps redialling those that are down (from the
// first moment: nsqd may start after the service), and handles messages until
// ctx is cancelled. Handlers inherit the values of ctx, not its cancellation.
//
// Then it drains: nsqd is told to send no more; what no handler has started is
// given back at once; running handlers may finish for the shutdown timeout
// ([WithShutdownTimeout]), after which their contexts end with
// [handler.ErrShutdown], and have one more second. Run returns nil when every
// message was answered and every nsqd has confirmed that it has read the
// answers; else a [*ShutdownError]. It returns within the shutdown timeout and
// two seconds, and leaves no goroutine behind except handlers that ignore their
// contexts and hooks that do not return. (It does wait for a DialContext or
// AuthSecret of [conn.Config] or a [Discoverer] that ignores its context, and for
// the end of the telemetry's observation.)
//
// A Consumer runs once: a second Run returns [ErrAlreadyRun]. Handlers must not
// wait for Run to return; they may cancel its ctx.
func (c *Consumer[T]) Run(ctx context.Context) error { return c.c.Run(ctx) }

// Process runs a message through the consumer's chain, without a connection to
// an nsqd, and returns what nsqd would hear. The table of [Consumer] applies, dead
// letters included: they are published. It is what a test of the whole consumer
// calls. ctx is what the
// handler gets; pass m.Context() for the one that it gets in production.
func (c *Consumer[T]) Process(ctx context.Context, m *handler.Message) handler.Outcome {
	return c.c.Process(ctx, m)
}

// Stats returns the consumer's counters and the state of its connections.
func (c *Consumer[T]) Stats() Stats { return c.c.Stats() }

// Ready is closed once the consumer works as well as it can: each source of nsqds was asked, and
// one has answered; topic and channel are registered at nsqlookupds (see [WithoutRegistration]); each
// nsqd that is named was tried; and one is subscribed to, or there is none yet, since a topic exists
// from its first message on. A dead nsqd beside others delays it until its first dial has failed. A
// service may report itself ready then, and publish to the topic: this channel gets it.
func (c *Consumer[T]) Ready() <-chan struct{} { return c.c.Ready() }

// Healthy returns nil while the consumer does what it can: it is connected to an
// nsqd, or there is none for its topic yet. Else it returns an error that is
// [ErrNotRunning] (from the start of the drain, too), [ErrNoNSQD], with the reasons of dials and of
// polls, or [ErrStuck].
//
// If all nsqds of the topic are away it fails until one answers, though nsqlookupd names none any
// more, or until the topic is deleted at nsqlookupd. It is for alerts and readiness. A restart helps
// against little of it: see Live.
func (c *Consumer[T]) Healthy() error { return c.c.Healthy() }

// Live returns an error only if a restart would help: [ErrStuck] while every handler works on a message
// that nsqd has given to others, also those of connections that are lost; [ErrNotRunning] after Run
// has returned. It is nil before Run and during the drain. It is for liveness.
func (c *Consumer[T]) Live() error { return c.c.Live() }

// Pause lets no further handler start, until Resume: nsqd is asked for nothing,
// what waits for a handler is given back at once, and handlers that run go on.
// Connections stay. It may be called before Run.
func (c *Consumer[T]) Pause() { c.c.Pause() }

// Resume undoes Pause.
func (c *Consumer[T]) Resume() { c.c.Resume() }

// SetConcurrency changes how many handlers run at once: 1 to 65536. Handlers that
// run finish, also those that are now too many.
func (c *Consumer[T]) SetConcurrency(n int) error {
	if n < 1 || n > maxConcurrency {
		return &OptionError{Option: "SetConcurrency", Reason: fmt.Sprintf("is %d, want 1 to %d", n, maxConcurrency)}
	}
	c.c.SetConcurrency(n)
	return nil
}

// SetMaxInFlight changes how many messages may be in flight: 1 to 1048576, or 0 for
// automatic. nsqd takes nothing back: a lower bound holds when handlers have answered
// what is above it.
func (c *Consumer[T]) SetMaxInFlight(n int) error {
	if n < 0 || n > maxInFlight {
		return &OptionError{Option: "SetMaxInFlight", Reason: fmt.Sprintf("is %d, want 0 to %d", n, maxInFlight)}
	}
	c.c.SetMaxInFlight(n)
	return nil
}
