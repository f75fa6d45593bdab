package nsqx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/consume"
	"github.com/nsqx/nsqx/internal/guard"
)

// Consumer passes the messages of one channel to a handler, and tells nsqd the outcome of each
// delivery. The first matching row decides:
//
//	when                                              nsqd hears     disposition
//	Redrive published it for another channel          FIN            skip
//	the connection is gone                            nothing        lost
//	nil, also late                                    FIN            finish
//	failed when nsqd no longer waits for an answer    nothing        expired
//	failed, and the shutdown ended its ctx            REQ 0          interrupted
//	it came too late for its handler                  dead letter³   dead_letter, drop
//	retry.Drop                                        FIN            drop
//	retry.After(d, nil)                               REQ d          requeue
//	retry.Permanent, or the retry policy says stop    dead letter¹   dead_letter, drop
//	the payload does not decode                       dead letter²   dead_letter, requeue
//	MaxAttempts or MaxAge is reached                  dead letter    dead_letter
//	retry.After(d, err), any other error, a panic     REQ delay      requeue
//
// A dead letter is published and confirmed before the FIN; if that fails the message is requeued. ¹
// Without a dead letter: FIN, and an error in the log. ² Without one: like any other error, since a
// newer release of the service may read the payload; [WithErrors] may say otherwise. ³ See [WithTTL] and [WithSkipOlder]. Without a
// dead letter: FIN.
//
// A message that comes before its time ([Producer.PublishAt]) is given back for the rest of it, and
// passes neither middleware nor telemetry: the delivery is no run, no failure and no attempt.
//
// A message above conn.Config.MaxMessageSize is not read, and no handler sees it. It fails with a
// [*conn.SizeError] by the same rows, but it does not open the breaker, and it is given up only with
// [WithDeadLetterFunc] or [WithDiscard]: a dead letter cannot carry its body.
//
// Only a failed run gives a message up, unless [WithCrashGuard] is given. What counts towards
// MaxAttempts is nsqd's number of deliveries, less those of which this process knows that they say
// nothing of the message: it requeued the message before a handler saw it, the handler answered
// retry.After(d, nil), or the handler failed while the breaker was open, or as its probe (see
// [Backoff]). Deliveries before the message's time are subtracted as well: if other processes may
// have seen some, as many as its delay takes at most. Nor does a run give a message up for
// MaxAttempts, or by the retry policy, while nearly all messages fail: Backoff says when that is.
// With [WithoutBackoff] it never is.
type Consumer[T any] struct {
	c              *consume.Consumer
	topic, channel string
	start          time.Duration // see WithStartTimeout
}

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
//	                       20 results or more in 10 s,
//	                       or 10 failures in a row;
//	                       1 s doubling to 60 s
//	retry                  1 s doubling to 10 min,           WithRetry
//	                       with jitter, without limit
//	attempts, age          unlimited                         WithMaxAttempts, WithMaxAge
//	dead letter            none                              WithDeadLetter, WithDeadLetterFunc,
//	                                                         WithDiscard
//	crash guard            none                              WithCrashGuard
//	oldest that is handled no limit                          WithSkipOlder
//	envelopes              recognised, removed               WithoutEnvelopes
//	message timeout        the server's                      WithMessageTimeout
//	longest requeue delay  1 h                               WithMaxRequeueDelay
//	Start, shutdown        10 s, 20 s                        WithStartTimeout, WithShutdownTimeout
//	nsqlookupds            polled every 60 s ± 20 %          WithLookupInterval, WithLookupdClient
//	discovered nsqds       256 at most, all of them          WithMaxNSQDs, WithNSQDFilter
//	topic and channel      registered at nsqlookupds         WithoutRegistration
//	redial                 100 ms doubling to 10 s,
//	                       with jitter
//	connections            see conn.Config                   WithConn
//	logger                 slog.Default()                    WithLogger
//	log of failures        on                                WithoutFailureLog
func NewConsumer[T any](topic, channel string, c codec.Codec[T], fn handler.Func[T], opts ...ConsumerOption) (*Consumer[T], error) {
	cfg := newConsumerConfig(topic, channel, opts)
	cfg.checkHandler(c, fn == nil)
	cfg.forbid("NewConsumer", "WithBatch", "WithBatchMiddleware", "WithoutBatchTouch")
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return newConsumer[T](cfg, "WithMiddleware", func() *consume.Consumer { return consume.New(cfg.consume, handler.Typed(c, fn)) })
}

// NewBatchConsumer returns a consumer whose handler takes several messages at a time: see
// [handler.BatchFunc]. The table of [Consumer] holds for each message: it has the handler's result,
// or the error of [handler.Batch.Fail]. A message that does not decode is in no batch.
//
// A batch is passed to fn when it has the size of [WithBatch]; when its first message has waited as
// long as WithBatch says, or half of the message timeout; when no more messages may be in flight;
// and when the shutdown begins. At most one batch forms at a time; messages are taken in the order
// of arrival. While fn runs, its messages are touched (see [WithoutBatchTouch]). Afterwards its failed
// messages are settled, up to 64 at a time, so functions such as that of [WithDeadLetterFunc] run
// concurrently.
//
// [WithConcurrency] is the number of batches that are handled at once and defaults to 1, so one
// batch follows the other. [WithMiddleware] is for single messages; here it is an error, use
// [WithBatchMiddleware]. Otherwise the options and their defaults are those of NewConsumer.
func NewBatchConsumer[T any](topic, channel string, c codec.Codec[T], fn handler.BatchFunc[T], opts ...ConsumerOption) (*Consumer[T], error) {
	cfg := newConsumerConfig(topic, channel, opts)
	cfg.checkHandler(c, fn == nil)
	cfg.forbid("NewBatchConsumer", "WithMiddleware")
	cfg.validateBatch()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return newConsumer[T](cfg, "WithBatchMiddleware", func() *consume.Consumer { return consume.NewBatch(cfg.consume, handler.TypedBatch(c, fn)) })
}

// newConsumer makes a consumer by make, which calls the user's middleware to wrap the handler.
func newConsumer[T any](cfg *consumerConfig, option string, make func() *consume.Consumer) (*Consumer[T], error) {
	c, err := build(option, make)
	if err != nil {
		return nil, err
	}
	return &Consumer[T]{c: c, topic: cfg.consume.Sub.Topic, channel: cfg.consume.Sub.Channel, start: cfg.startTimeout}, nil
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
// Run returns within the shutdown timeout and two seconds, and leaves no goroutine except those of
// user code that does not return, such as a handler or a dialer that ignores its context.
//
// A second Run returns [ErrAlreadyRun]. A handler must not wait for Run, but may cancel ctx.
func (c *Consumer[T]) Run(ctx context.Context) error { return c.c.Run(guard.Context(ctx)) }

// Start is Run in the background, for frameworks with hooks for start and stop. ctx is that of Run:
// its end starts the shutdown, so it must not be one that ends after the start.
//
// It returns nil when an nsqd is subscribed, or when the topic does not exist yet. Otherwise the
// consumer has been stopped, and the error is [ErrNoNSQD] with the reasons: at once if no nsqd will
// ever accept the consumer, because of TLS, AUTH, compression, a setting or a name; after
// [WithStartTimeout] if none could be reached. If ctx ends before, it is the cause of that. A second
// Start returns [ErrAlreadyRun].
func (c *Consumer[T]) Start(ctx context.Context) error { return c.c.Start(guard.Context(ctx), c.start) }

// Stop starts the shutdown of a consumer that [Consumer.Start] has started, and waits until it is
// over: see [Consumer.Run] for the time that it takes. It returns what Run returns. If ctx ends
// before, the shutdown continues, and Stop returns the cause of the end. Without a Start it returns
// [ErrNotRunning].
func (c *Consumer[T]) Stop(ctx context.Context) error { return c.c.Stop(guard.Context(ctx)) }

// Wait waits until a consumer that [Consumer.Start] has started has ended, for whatever reason, and
// returns what Run returns. Without a Start it returns [ErrNotRunning].
func (c *Consumer[T]) Wait() error { return c.c.Wait() }

func (c *Consumer[T]) name() string { return "consumer " + c.topic + "/" + c.channel }

// Process runs a message through the consumer's chain without a connection, for tests, and returns
// what nsqd would hear. Dead letters are published. ctx is the handler's; m.Context() is that of
// production, and nil stands for it. See package nsqxtest.
func (c *Consumer[T]) Process(ctx context.Context, m *handler.Message) handler.Outcome {
	if ctx == nil {
		ctx = m.Context()
	}
	return c.c.Process(ctx, m)
}

// ProcessBatch is [Consumer.Process] for several messages. A consumer of batches gets them as one
// batch, whatever [WithBatch] says; another one gets each alone. The outcomes are those of the
// messages.
func (c *Consumer[T]) ProcessBatch(ctx context.Context, msgs []*handler.Message) {
	c.c.ProcessBatch(ctx, msgs)
}

// Stats returns the consumer's counters and the state of its connections.
func (c *Consumer[T]) Stats() Stats { return c.c.Stats() }

// Ready returns a channel that is closed once the consumer works as well as it can: each source of
// nsqds was polled, and one has answered; topic and channel are registered at nsqlookupds (see
// [WithoutRegistration]); each nsqd that is named was tried; and one is subscribed, or there is none
// yet, since the first message creates a topic. A dead nsqd beside others delays it until its first
// dial has failed. A service may report itself ready then, and publish to the topic: this channel
// gets the message.
//
// The channel is closed once, for a start: what is lost afterwards does not open it again (see
// Healthy), and it is never closed if Run ends before.
func (c *Consumer[T]) Ready() <-chan struct{} { return c.c.Ready() }

// Healthy returns nil if an nsqd is connected or the topic does not exist yet. Otherwise the error
// is [ErrNotRunning] (also from the start of the shutdown), [ErrStuck], or [ErrNoNSQD] with the
// reasons of dials and polls.
//
// If all nsqds of the topic are away it fails until one answers, even if nsqlookupd names none any
// more, or until the topic is deleted at nsqlookupd. Use it for alerts and readiness. A restart
// rarely helps: see Live.
func (c *Consumer[T]) Healthy() error { return c.c.Healthy() }

// Live returns an error only if a restart would help: [ErrStuck] while every handler works on a
// message that nsqd has given to others, those of lost connections included; [ErrNotRunning] after
// Run has returned. It is nil before Run and during the shutdown. Use it for liveness.
func (c *Consumer[T]) Live() error { return c.c.Live() }

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

// SetNSQDs replaces the addresses of [WithNSQD]; it may be called before Run, and without addresses.
// An nsqd that is not among them any more sends nothing more, and its connection is closed when the
// messages that it sent are answered, unless [WithLookupd] or [WithDiscoverer] name it, too. The error
// joins an [*OptionError] for each faulty address; then nothing is changed.
func (c *Consumer[T]) SetNSQDs(addrs ...string) error {
	var faults []error
	for _, addr := range addrs {
		if err := conn.CheckAddress(addr); err != nil {
			faults = append(faults, &OptionError{Option: "SetNSQDs", Reason: "has a faulty address: " + err.Error()})
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	c.c.SetNSQDs(addrs)
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
