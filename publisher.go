package nsqx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nsqx/nsqx/handler"
)

var errPublisherClosed = errors.New("nsqx: the publisher is closed")

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
	cfg  *producerConfig
	send handler.Send // the whole chain
	core *publishing
	work tracker

	events    *events
	discovery *discovery
	stop      context.CancelFunc // of discovery
	finding   chan struct{}      // closed when discovery has ended
	unobserve func()
	closed    chan struct{} // closed when Close is over
}

// NewPublisher makes a publisher, which begins to connect at once. All that is wrong with the options is
// reported together, as by [NewConsumer]. One of [WithNSQD], [WithLookupd] and
// [WithDiscoverer] is needed; nsqlookupds are asked for all nsqds that they know,
// since a topic begins where the first message is published.
//
// Defaults:
//
//	patience               10 s                  WithPublishTimeout
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
	p := &Publisher{cfg: cfg, finding: make(chan struct{}), closed: make(chan struct{})}
	p.events = newEvents(cfg.logger, &cfg.hooks)
	p.core = newPublishing(&cfg.sharedConfig)
	p.core.patience, p.core.again, p.core.events = cfg.patience, cfg.atLeastOnce, p.events
	p.send = p.chain("", nil, false)

	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	p.discovery = newDiscovery(&cfg.sharedConfig, "", found{p.core, p.events})
	for _, addr := range p.discovery.table.Static(cfg.nsqds...) {
		p.core.connect(addr)
	}
	go p.events.run()
	go func() {
		defer close(p.finding)
		if len(p.discovery.sources) > 0 {
			p.discovery.run(ctx)
		}
	}()
	if o, ok := cfg.telemetry.(PublisherObserver); ok {
		p.unobserve = o.ObservePublisher(p.Stats)
	}
	return p
}

// chain builds the way of what is published: telemetry, the publisher's middleware,
// that of a producer, and the connections.
func (p *Publisher) chain(topic string, more []handler.SendMiddleware, envelope bool) handler.Send {
	var observe handler.SendMiddleware
	if t := p.cfg.telemetry; t != nil {
		observe = t.Producer(ProducerInfo{Topic: topic, ClientID: p.cfg.conn.ClientID})
	}
	inner := handler.ChainSend(observe, p.core.rejectHeaders, handler.ContextHeaders, handler.ChainSend(p.cfg.middleware...), handler.ChainSend(more...))(p.core.transmit)
	envelope = envelope || p.cfg.envelope
	return func(ctx context.Context, out *handler.Outgoing) (err error) {
		defer func() {
			if r := recover(); r != nil { // maybe when nsqd had confirmed it
				err = &PublishError{Kind: ErrUnconfirmed, Topic: out.Topic, Err: handler.NewPanicError(r)}
			}
		}()
		out.Envelope = out.Envelope || envelope
		return inner(ctx, out)
	}
}

// through publishes by a chain, unless the publisher is closed.
func (p *Publisher) through(ctx context.Context, chain handler.Send, out *handler.Outgoing) error {
	epoch, ok := p.work.begin()
	if !ok {
		return &PublishError{Kind: ErrNotSent, Topic: out.Topic, Err: errPublisherClosed}
	}
	defer p.work.end(epoch)
	return chain(ctx, out)
}

// Send publishes out.Messages to out.Topic and returns when an nsqd has confirmed them
// all: by one PUB or DPUB, or by as many MPUBs, one after the other, as nsqd's limits
// make necessary. The error is a [*PublishError], unless a middleware has made it:
// exactly one of [ErrRejected], [ErrNotSent] and [ErrUnconfirmed].
//
// When ctx ends, Send returns at once. A middleware that panics leaves the message unconfirmed.
func (p *Publisher) Send(ctx context.Context, out *handler.Outgoing) error {
	return p.through(ctx, p.send, out)
}

// Ping waits until the publisher is connected to an nsqd, and returns nil; or, when
// ctx ends or [WithPublishTimeout] has passed, why it is not.
func (p *Publisher) Ping(ctx context.Context) error { return p.core.await(ctx) }

// Flush waits until nothing is under way that was published before, by whatever
// producer, or until ctx ends; it returns ctx.Err() then.
func (p *Publisher) Flush(ctx context.Context) error { return p.work.flush(ctx) }

// closeGrace is how long Close waits for user code that should have come to its end.
const closeGrace = time.Second

// Close ends the publisher: nothing more can be published ([ErrNotSent]), what is
// under way is waited for until ctx ends, and the connections are closed. What an nsqd
// has not confirmed then is [ErrUnconfirmed] for those who wait for it, or [ErrNotSent] if
// it was never written, and Close returns a [*CloseError]. Middleware and hooks that have not returned a second later are
// left behind, so that Close may be called by a hook, too.
//
// A second Close waits for the first and returns nil, or the reason why its ctx ended before.
func (p *Publisher) Close(ctx context.Context) error {
	if !p.work.close() {
		select {
		case <-p.closed:
			return nil
		case <-ctx.Done():
			return ended(ctx)
		}
	}
	defer close(p.closed)
	var err error
	if cut := p.work.flush(ctx); cut != nil {
		err = &CloseError{Unconfirmed: p.core.unanswered(), Err: cut}
	}
	p.stop()
	p.core.close(err != nil)
	deadline := time.Now().Add(closeGrace)
	left, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	if waitFor(p.finding, time.Until(deadline)) { // nobody is left who posts
		p.events.end(deadline)
	}
	_ = p.work.flush(left) // those who were cut short return
	if p.unobserve != nil {
		p.unobserve()
	}
	return err
}

// CloseError is what a publisher could not get confirmed before it had to close.
type CloseError struct {
	Unconfirmed int   // messages handed to a connection, written or not, that nsqd has not answered
	Err         error // why it did not wait longer
}

// Error says how many messages are unconfirmed.
func (e *CloseError) Error() string {
	return fmt.Sprintf("nsqx: publisher closed with %d messages unconfirmed: %v", e.Unconfirmed, e.Err)
}

// Unwrap returns why Close did not wait longer.
func (e *CloseError) Unwrap() error { return e.Err }

// Healthy returns nil while the publisher is connected to an nsqd; else an error that
// is [ErrNoNSQD], with the reasons, or [ErrNotRunning] when it is closed.
func (p *Publisher) Healthy() error {
	_, _, down := p.core.choose("", nil)
	switch {
	case len(*p.core.connected.Load()) > 0:
		return nil
	case down == nil:
		return ErrNoNSQD
	case down == errPublisherClosed:
		return ErrNotRunning
	}
	return down
}

// Stats returns the publisher's counters and the state of its connections.
func (p *Publisher) Stats() PublisherStats {
	c := p.core
	s := PublisherStats{
		InFlight:  c.unanswered(),
		Confirmed: c.confirmed.Load(), Rejected: c.rejected.Load(), NotSent: c.notSent.Load(), Unconfirmed: c.unconfirmed.Load(),
		EnvelopesSkipped: c.skipped.Load(),
		EventsDropped:    p.events.dropped.Load(),
		Lookups:          p.discovery.stats(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.outlets {
		s.Connections = append(s.Connections, o.stats())
	}
	return s
}

// found is what discovery tells of a publisher.
type found struct {
	*publishing
	events *events
}

func (f found) polled(ev event) { f.events.post(eventLookup, ev) }
