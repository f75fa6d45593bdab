package nsqx

import (
	"context"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/publish"
)

// Publisher publishes to any topic, over connections to any number of nsqds, which
// it keeps. It is what the producers of a service share: see [NewProducer] and
// [WithPublisher].
//
// Messages go to the nsqds that are connected, in turns. One that cannot be reached
// is redialled under the same backoff as a consumer's, and gets nothing meanwhile.
// Publishes of many goroutines share writes, and those to one topic, if there are
// several at a time, go out as one MPUB.
//
// All methods are safe for concurrent use. A publisher must be closed: see
// [Publisher.Close].
type Publisher struct {
	p            *publish.Publisher
	send         handler.Send // the whole chain
	closeTimeout time.Duration
}

// NewPublisher makes a publisher, which begins to connect at once. All that is wrong with the options is
// reported together, as by [NewConsumer]. One of [WithNSQD], [WithLookupd] and
// [WithDiscoverer] is needed; nsqlookupds are asked for all nsqds that they know,
// since a topic begins where the first message is published.
//
// Defaults:
//
//	wait for an nsqd       10 s                  WithPublishTimeout
//	wait of Close          10 s                  WithCloseTimeout
//	what is unconfirmed    is not sent again     WithAtLeastOnce
//	headers                are not sent          WithEnvelope
//	nsqlookupds            asked every 60 s ± 20 %   WithLookupInterval, WithLookupdClient
//	nsqds found            256 at most           WithMaxNSQDs, WithNSQDFilter
//	redial                 100 ms doubling to 10 s, with jitter
//	the wire, nsqd's limits   see conn.Config    WithConn
//	logger                 slog.Default()        WithLogger
func NewPublisher(opts ...ProducerOption) (*Publisher, error) {
	cfg := newProducerConfig(opts)
	if cfg.publisher != nil {
		cfg.fault("WithPublisher", "is for NewProducer: a publisher has its own connections")
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return startPublisher(cfg), nil
}

func startPublisher(cfg *producerConfig) *Publisher {
	p := &Publisher{closeTimeout: cfg.closeTimeout}
	p.p = publish.Start(publish.Settings{
		NSQDs: cfg.nsqds, Discover: cfg.discover, Conn: cfg.conn,
		Logger: cfg.logger, Telemetry: cfg.telemetry, Hooks: cfg.hooks,
		Middleware: cfg.middleware, Envelope: cfg.envelope, WaitTimeout: cfg.waitTimeout, AtLeastOnce: cfg.atLeastOnce,
	})
	p.send = p.p.Chain("", nil, false)
	return p
}

// Send publishes out.Messages to out.Topic and returns when an nsqd has confirmed them
// all: by one PUB or DPUB, or by as many MPUBs, one after the other, as nsqd's limits
// make necessary. The error is a [*PublishError], unless a middleware has made it:
// exactly one of [ErrRejected], [ErrNotSent] and [ErrUnconfirmed].
//
// When ctx ends, Send returns at once. A middleware that panics leaves the message unconfirmed.
func (p *Publisher) Send(ctx context.Context, out *handler.Outgoing) error {
	return p.p.Through(ctx, p.send, out)
}

// Ping waits until the publisher is connected to an nsqd, and returns nil; or, when
// ctx ends or [WithPublishTimeout] has passed, why it is not.
func (p *Publisher) Ping(ctx context.Context) error { return p.p.Router.Await(ctx) }

// Flush waits until nothing is under way that was published before, by whatever
// producer, or until ctx ends; it returns ctx.Err() then.
func (p *Publisher) Flush(ctx context.Context) error { return p.p.Work.Flush(ctx) }

// Close is [Publisher.Shutdown] with the timeout of [WithCloseTimeout]. It implements [io.Closer]:
// defer it.
func (p *Publisher) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.closeTimeout)
	defer cancel()
	return p.Shutdown(ctx)
}

// Shutdown ends the publisher: nothing more can be published ([ErrNotSent]), what is under way is
// awaited until ctx ends, and the connections are closed. What an nsqd has not confirmed then is
// [ErrUnconfirmed] for its caller, or [ErrNotSent] if it was never written, and Shutdown returns a
// [*CloseError]. Middleware and hooks that have not returned a second later are left behind, so that
// a hook may call Shutdown, too.
//
// A second Shutdown waits for the first and returns nil, or the reason why its ctx ended before.
func (p *Publisher) Shutdown(ctx context.Context) error { return p.p.Close(ctx) }

// Healthy returns nil while the publisher is connected to an nsqd; otherwise an error that is
// [ErrNoNSQD], with the reasons of dials and of polls, or [ErrNotRunning] when it is closed.
func (p *Publisher) Healthy() error { return p.p.Healthy() }

// Stats returns the publisher's counters and the state of its connections.
func (p *Publisher) Stats() PublisherStats { return p.p.Stats() }
