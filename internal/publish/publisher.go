package publish

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/discover"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

// Settings are the settings of a Publisher, validated and with defaults.
type Settings struct {
	NSQDs    []string // static addresses
	Discover discover.Config
	Conn     conn.Config

	Logger    *slog.Logger
	Telemetry observe.Telemetry // nil: none; its functions that observe neither panic nor hang
	Hooks     []observe.Hooks

	Middleware  []handler.SendMiddleware
	Envelope    bool
	WaitTimeout time.Duration
	AtLeastOnce bool
}

// Publisher is a Router with what surrounds it: middleware, telemetry, discovery, events, and an
// orderly end.
type Publisher struct {
	Router *Router
	Work   Tracker // publishes under way

	cfg       Settings
	logger    *slog.Logger
	events    *notify.Queue
	discovery *discover.Discovery
	stop      context.CancelFunc // ends discovery
	found     chan struct{}      // closed when discovery has ended
	unobserve func()             // may be nil
	end       Ending             // of Close
}

// Start returns a publisher that connects at once.
func Start(cfg Settings) *Publisher {
	logger := guard.Logger(cfg.Logger)
	p := &Publisher{cfg: cfg, logger: logger, found: make(chan struct{})}
	p.events = notify.New(logger, "", "", cfg.Hooks)
	p.Router = New(Config{
		Conn: cfg.Conn, Again: cfg.AtLeastOnce, WaitTimeout: cfg.WaitTimeout, Post: p.events.Conn,
		MaxNSQDs: cfg.Discover.Max + len(cfg.NSQDs),
	})
	p.events.Connected(p.Router.Known)
	p.events.Confirmed(p.Router.Confirmed)
	p.discovery = discover.New(cfg.Discover, owner{p.Router, p.events}, cfg.NSQDs)
	p.events.Start()
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	go func() {
		defer close(p.found)
		p.discovery.Run(ctx)
	}()
	if t := cfg.Telemetry; t != nil {
		p.unobserve = t.ObservePublisher(p.Stats)
	}
	return p
}

// owner is the publisher as discovery sees it.
type owner struct {
	*Router
	events *notify.Queue
}

// Post takes an event.
func (o owner) Post(ev notify.Event) { o.events.Post(ev) }

// Polled does nothing.
func (o owner) Polled() {}

// Healthy returns nil if an nsqd is connected, or why not: the reasons of dials and of polls.
func (p *Publisher) Healthy() error {
	err := p.Router.Healthy()
	if failures := p.discovery.Failures(); errors.Is(err, observe.ErrNoNSQD) && len(failures) > 0 {
		return errors.Join(err, errors.Join(failures...))
	}
	return err
}

// Chain builds the way of a publish, once: telemetry → headers → the publisher's middleware → more →
// Transmit. Enveloped says whether it adds an envelope.
func (p *Publisher) Chain(topic string, more []handler.SendMiddleware, envelope bool) handler.Send {
	var observing handler.SendMiddleware
	if t := p.cfg.Telemetry; t != nil {
		observing = t.Producer(observe.ProducerInfo{Topic: topic, ClientID: p.cfg.Conn.ClientID})
	}
	inner := handler.ChainSend(observing, p.Router.RejectHeaders, handler.ContextHeaders, p.Router.Stamp,
		handler.ChainSend(p.cfg.Middleware...), handler.ChainSend(more...))(p.Router.Transmit)
	envelope = p.Enveloped(envelope)
	if observing != nil && topic != "" && !envelope {
		p.logger.Info("nsqx: traces end at this producer, which sends no headers: see WithEnvelope", "topic", topic)
	}
	return func(ctx context.Context, out *handler.Outgoing) (err error) {
		returned := false
		defer func() {
			if r := recover(); r != nil { // perhaps after nsqd had confirmed it
				err = Broken(out.Topic, r)
			} else if !returned { // the goroutine ends, and its owner has no error
				p.logger.Error("nsqx: middleware or telemetry called runtime.Goexit in a publish", "topic", out.Topic)
			}
		}()
		out.Envelope = out.Envelope || envelope
		err = inner(ctx, out)
		returned = true
		return err
	}
}

// Enveloped reports whether a chain adds an envelope.
func (p *Publisher) Enveloped(envelope bool) bool { return envelope || p.cfg.Envelope }

// Broken is the error of a publish in which user code has panicked with a value.
func Broken(topic string, value any) error {
	return &conn.PublishError{Kind: conn.ErrUnconfirmed, Topic: topic, Err: handler.NewPanicError(value)}
}

// Through publishes by a chain, unless the publisher is closed.
func (p *Publisher) Through(ctx context.Context, chain handler.Send, out *handler.Outgoing) error {
	epoch, ok := p.Work.Begin()
	if !ok {
		return &conn.PublishError{Kind: conn.ErrNotSent, Topic: out.Topic, Err: ErrClosed}
	}
	defer p.Work.End(epoch)
	return chain(ctx, out)
}

// Call calls user code in the caller's goroutine. It logs a panic, and a call of runtime.Goexit, which
// ends the goroutine.
func (p *Publisher) Call(f func()) {
	returned := false
	defer func() {
		if !returned {
			p.logger.Error("nsqx: a callback called runtime.Goexit")
		}
	}()
	p.events.Call(f)
	returned = true
}

// CloseGrace is how long Close waits for user code that should have returned.
const CloseGrace = time.Second

// Close publishes nothing more, waits until ctx ends for what is under way, and closes the
// connections: see nsqx.Publisher.Shutdown.
func (p *Publisher) Close(ctx context.Context) error {
	return p.end.Do(ctx, func() error { return p.close(ctx) })
}

func (p *Publisher) close(ctx context.Context) error {
	p.Work.Close()
	end := &observe.CloseError{Err: p.Work.Flush(ctx)}
	if end.Err != nil {
		end.Unconfirmed = p.Router.Unanswered()
	}
	p.stop()
	deadline := time.Now().Add(CloseGrace)
	end.CallbackRuns = !p.waitConns(end.Err != nil, deadline)
	end.HookRuns = !p.events.Close(deadline)
	left, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	_ = p.Work.Flush(left) // publishes that were cut short return
	if p.unobserve != nil {
		p.unobserve()
	}
	if end.Empty() {
		return nil
	}
	return end
}

// waitConns closes the connections and waits for them and for polls, until the deadline. It returns
// false if user code hangs in one, which is left behind.
func (p *Publisher) waitConns(atOnce bool, deadline time.Time) bool {
	return guard.Returns(time.Until(deadline), func() {
		p.Router.Close(atOnce)
		<-p.found // nobody posts any more
	})
}

// Stats returns the publisher's counters and state.
func (p *Publisher) Stats() observe.PublisherStats {
	s := p.Router.Stats()
	s.EventsDropped = p.events.Dropped()
	s.Lookups = p.discovery.Stats()
	return s
}

var errNotAppended = errors.New("nsqx: the codec did not append to the slice that it was given")

// Encode appends a payload to dst. A codec that panics has an error like any other, and so has one
// that does not keep what dst holds.
func Encode(dst []byte, encode func([]byte) ([]byte, error)) ([]byte, error) {
	body, err := guard.Value(func() ([]byte, error) { return encode(dst) })
	switch {
	case err != nil:
		return dst, err
	case len(body) < len(dst), len(dst) > 0 && &body[0] != &dst[0] && !bytes.Equal(body[:len(dst)], dst):
		return dst, errNotAppended
	}
	return body, nil
}
