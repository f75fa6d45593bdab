package nsqx

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/lifecycle"
	"github.com/nsqx/nsqx/internal/publish"
)

// Publisher publishes to any topic, through connections to any number of nsqds. Producers may share
// it: see [WithPublisher].
//
// Messages go to the connected nsqds in turns; others are redialled as by a consumer. An nsqd that owes
// an answer for too long is passed over until it answers, unless all do: see [conn.Conn.Overdue].
// Publishes of several goroutines share writes; those to one topic are combined into one MPUB.
//
// All methods are safe for concurrent use. A publisher must be closed: see [Publisher.Close].
type Publisher struct {
	p            *publish.Publisher
	send         handler.Send      // the whole chain
	raw          *Producer[[]byte] // of any topic
	closeTimeout time.Duration
	ran          atomic.Bool
}

// NewPublisher returns a publisher, which starts to connect. One of [WithNSQD], [WithLookupd] and
// [WithDiscoverer] is required. A nsqlookupd is asked for all nsqds that it knows, since any of
// them may take the first message of a topic. The error joins all faults of the options, like that
// of [NewConsumer].
//
// Defaults:
//
//	wait for an nsqd      10 s                       WithPublishTimeout
//	wait of Close         10 s                       WithCloseTimeout
//	unconfirmed messages  are not published again    WithAtLeastOnce
//	headers               are not sent               WithEnvelope
//	nsqlookupds           polled every 60 s ± 20 %   WithLookupInterval, WithLookupdClient
//	discovered nsqds      256 at most                WithMaxNSQDs, WithNSQDFilter
//	redial                100 ms doubling to 10 s, with jitter
//	connections, limits   see conn.Config            WithConn
//	logger                slog.Default()             WithLogger
func NewPublisher(opts ...ProducerOption) (*Publisher, error) {
	cfg := newProducerConfig(opts)
	if cfg.publisher != nil {
		cfg.fault("WithPublisher", "is for NewProducer: a publisher has its own connections")
	}
	cfg.refuseValueOptions()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return startPublisher(cfg)
}

func startPublisher(cfg *producerConfig) (*Publisher, error) {
	p := &Publisher{closeTimeout: cfg.closeTimeout}
	p.p = publish.Start(publish.Settings{
		NSQDs: cfg.nsqds, Discover: cfg.discover, Conn: cfg.conn,
		Logger: cfg.logger, Telemetry: cfg.telemetry, Hooks: cfg.hooks,
		Middleware: cfg.middleware, Envelope: cfg.envelope, WaitTimeout: cfg.waitTimeout, AtLeastOnce: cfg.atLeastOnce,
	})
	var err error
	if p.send, err = p.chain("", nil, false); err != nil {
		p.abandon()
		return nil, err
	}
	p.raw = &Producer[[]byte]{
		codec: codec.Bytes(), pub: p, send: p.send, envelope: p.p.Enveloped(false), slots: make(chan struct{}, maxAsync),
	}
	return p, nil
}

// chain is [publish.Publisher.Chain]. The error is a fault of WithSendMiddleware.
func (p *Publisher) chain(topic string, more []handler.SendMiddleware, envelope bool) (handler.Send, error) {
	return build("WithSendMiddleware", func() handler.Send { return p.p.Chain(topic, more, envelope) })
}

// abandon closes a publisher that nobody has used.
func (p *Publisher) abandon() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.Shutdown(ctx)
}

// Send publishes out.Messages to out.Topic, and returns when an nsqd has confirmed all of them, or
// as soon as ctx ends. It uses one PUB or DPUB, or as many MPUBs in sequence as nsqd's limits
// require. With out.Envelope each message has an id, which is new for each call unless the header
// nsqx-id of the message names one. Unless middleware made it, the error is a [*PublishError]: exactly one of [ErrRejected],
// [ErrNotSent] and [ErrUnconfirmed]. A panic of middleware is an ErrUnconfirmed.
func (p *Publisher) Send(ctx context.Context, out *handler.Outgoing) error {
	return p.p.Through(guard.Context(ctx), p.send, out)
}

// Publish publishes a body to a topic, which need not be known before, and returns nil when an nsqd
// has confirmed it. Its error is that of Send.
func (p *Publisher) Publish(ctx context.Context, topic string, body []byte, opts ...PublishOption) error {
	return p.raw.publish(withOptions(ctx, topic, 0, opts), body)
}

// PublishAfter is Publish with a delay: see [Producer.PublishAfter].
func (p *Publisher) PublishAfter(ctx context.Context, topic string, delay time.Duration, body []byte, opts ...PublishOption) error {
	return p.raw.publish(withOptions(ctx, topic, delay, opts), body)
}

// PublishAt is Publish for a message that no handler gets before t: see [Producer.PublishAt].
func (p *Publisher) PublishAt(ctx context.Context, topic string, t time.Time, body []byte, opts ...PublishOption) error {
	return p.raw.publish(withOptions(ctx, topic, 0, append([]PublishOption{At(t)}, opts...)), body)
}

// PublishAll publishes bodies to a topic with as few MPUBs, in sequence, as nsqd's limits allow. The
// first n are confirmed: see [Producer.PublishAll].
func (p *Publisher) PublishAll(ctx context.Context, topic string, bodies [][]byte, opts ...PublishOption) (n int, err error) {
	return p.raw.publishAll(withOptions(ctx, topic, 0, opts), bodies)
}

// PublishAsync copies body, returns, and calls done from another goroutine with the error that
// Publish would return. While 1024 calls are under way it waits: see [Producer.PublishAsync].
func (p *Publisher) PublishAsync(ctx context.Context, topic string, body []byte, done func(error), opts ...PublishOption) error {
	return p.raw.publishAsync(withOptions(ctx, topic, 0, opts), body, done)
}

// Ping waits until an nsqd is connected. If ctx ends or [WithPublishTimeout] passes first, it
// returns the reason why none is.
func (p *Publisher) Ping(ctx context.Context) error { return p.p.Router.Await(guard.Context(ctx)) }

// Flush waits until every earlier publish, through any producer, has ended, and done of every
// PublishAsync of the publisher has returned. It returns ctx.Err() if ctx ends first.
func (p *Publisher) Flush(ctx context.Context) error {
	ctx = guard.Context(ctx)
	return cmp.Or(p.p.Work.Flush(ctx), p.raw.async.Flush(ctx))
}

// Close is [Publisher.Shutdown] with the timeout of [WithCloseTimeout]. It implements [io.Closer].
func (p *Publisher) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.closeTimeout)
	defer cancel()
	return p.Shutdown(ctx)
}

// Shutdown closes the publisher. New publishes fail with [ErrNotSent]; those under way are awaited
// until ctx ends, and the connections closed. If some are still not confirmed, they fail with
// [ErrUnconfirmed], or [ErrNotSent] if they were never written, and Shutdown returns a
// [*CloseError]. Middleware and hooks have one more second and are then left behind, so a hook may
// call Shutdown; and so have a [Discoverer], a dialer, a net.Conn and telemetry that do not return. The
// CloseError tells of them.
//
// A second Close or Shutdown waits for the first and returns the same, or its ctx.Err() if its ctx
// ends first.
func (p *Publisher) Shutdown(ctx context.Context) error {
	ctx = guard.Context(ctx)
	err := p.p.Close(ctx)
	if p.raw == nil { // it was never ready
		return err
	}
	left, cancel := context.WithTimeout(context.WithoutCancel(ctx), publish.CloseGrace)
	defer cancel()
	return cmp.Or(err, p.raw.async.Flush(left)) // until done has returned
}

// Run makes a publisher a [Service]: it waits for the end of ctx and is then [Publisher.Close]. [Run]
// ends publishers after all other services. A second Run returns [ErrAlreadyRun].
func (p *Publisher) Run(ctx context.Context) error {
	return runUntil(ctx, &p.ran, p.closeTimeout, p.Shutdown)
}

func (p *Publisher) name() string { return "publisher" }
func (p *Publisher) phase() int   { return 2 }

// runUntil waits for the end of ctx and then shuts down, in the time that is left.
func runUntil(ctx context.Context, ran *atomic.Bool, timeout time.Duration, shutdown func(context.Context) error) error {
	if !ran.CompareAndSwap(false, true) {
		return ErrAlreadyRun
	}
	ctx = guard.Context(ctx)
	<-ctx.Done()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), lifecycle.Within(ctx, timeout, publish.CloseGrace))
	defer cancel()
	return shutdown(closing)
}

// Healthy returns nil if an nsqd is connected. Otherwise the error is [ErrNoNSQD] with the reasons of
// dials and polls, or [ErrNotRunning] if the publisher is closed.
func (p *Publisher) Healthy() error { return p.p.Healthy() }

// Stats returns the publisher's counters and the state of its connections.
func (p *Publisher) Stats() PublisherStats { return p.p.Stats() }
