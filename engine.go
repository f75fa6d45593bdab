package nsqx

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/middleware"
)

// ErrAlreadyRun is returned by the second Run of a consumer.
var ErrAlreadyRun = errors.New("nsqx: the consumer runs already, or has run: make a new one")

// engine is a consumer without its type: connections put messages into its
// queue, workers take them from there through the chain, and answer.
type engine struct {
	cfg        *consumerConfig
	logger     *slog.Logger
	chain      handler.Raw
	queue      *queue
	workers    workers
	control    *control
	discovery  *discovery
	publishing *publishing // of dead letters
	sendDead   handler.Send
	events     *events
	delayCut   atomic.Bool // the warning was given

	settling     context.Context // ends when even dead letters may not be waited for
	stopSettling context.CancelCauseFunc

	started atomic.Bool
	ready   chan struct{} // closed when Ready is to be
	linked  sync.WaitGroup

	mu         sync.Mutex
	ctx        context.Context // of Run; nil before that
	draining   bool
	isReady    bool        // ready is closed
	unanswered []Abandoned // came in the drain, when nothing could be answered
	links      []*link     // one for each address
}

func newEngine(cfg *consumerConfig, raw handler.Raw) *engine {
	logger := cfg.logger.With("topic", cfg.sub.Topic, "channel", cfg.sub.Channel)
	e := &engine{
		cfg:    cfg,
		logger: logger,
		queue:  newQueue(0),
		events: newEvents(logger, &cfg.hooks),
		ready:  make(chan struct{}),
	}
	e.settling, e.stopSettling = context.WithCancelCause(context.Background())
	e.publishing = newPublishing(&cfg.sharedConfig)
	e.publishing.lazy, e.publishing.again = true, true
	e.workers.init(e)
	e.control = newControl(e)
	e.discovery = newDiscovery(&cfg.sharedConfig, cfg.sub.Topic, e)
	for _, addr := range e.discovery.table.Static(cfg.nsqds...) {
		e.addLink(addr)
	}

	// From the outside in; built once.
	var observe handler.Middleware
	var observeDead handler.SendMiddleware
	if t := cfg.telemetry; t != nil {
		observe = t.Consumer(ConsumerInfo{
			Topic: cfg.sub.Topic, Channel: cfg.sub.Channel, ClientID: cfg.conn.ClientID, Concurrency: cfg.concurrency,
			MaxAttempts: cfg.maxAttempts,
		})
		if cfg.deadLetterTopic != "" {
			observeDead = t.Producer(ProducerInfo{Topic: cfg.deadLetterTopic, ClientID: cfg.conn.ClientID})
		}
	}
	e.sendDead = handler.ChainSend(observeDead)(e.publishing.transmit)
	inner := handler.Chain(cfg.middleware...)
	if len(cfg.middleware) > 0 {
		inner = handler.Chain(
			middleware.Recover(), // so that a panic of the user's middleware is a failure like any other
			inner,
		)
	}
	if observe != nil {
		observe = handler.Chain(middleware.Recover(), observe) // settle needs none: it does not panic
	}
	e.chain = handler.Chain(
		observe,
		e.settle,
		inner,
		middleware.Recover(), // so that middleware sees an error, not a panic
	)(raw)
	return e
}

// process runs a message through the chain and returns what was decided.
func (e *engine) process(ctx context.Context, m *handler.Delivery) handler.Outcome {
	err := e.chain(ctx, m.Message())
	out := m.Outcome()
	if out.Disposition == handler.Pending {
		return e.rescue(ctx, m, err)
	}
	// Only what the outermost Recover has made is looked at: to walk an error of
	// the user's is user code.
	if p, ok := err.(*handler.PanicError); ok && out.Err != err {
		call(e.events, []func(*handler.PanicError){func(p *handler.PanicError) { e.logPanic(ctx, m, p) }}, p) // of the telemetry, when all was decided
	}
	call(e.events, e.cfg.hooks.settle, m.Message())
	return out
}

// rescue settles a message whose chain has ended before all was done. What is
// decided already stays.
func (e *engine) rescue(ctx context.Context, m *handler.Delivery, err error) handler.Outcome {
	out := m.Outcome()
	if out.Disposition == handler.Pending {
		out = e.unsettled(ctx, m, err)
		m.SetOutcome(out)
		call(e.events, e.cfg.hooks.settle, m.Message())
	}
	return out
}

// run is the life of a consumer. What it starts, it waits for: workers, control,
// discovery, a link for each address, the event goroutine.
func (e *engine) run(ctx context.Context) error {
	if !e.started.CompareAndSwap(false, true) {
		return ErrAlreadyRun
	}
	if t := e.cfg.telemetry; t != nil {
		if stop := t.Observe(e.stats); stop != nil {
			defer stop()
		}
	}
	go e.events.run()
	e.control.startWorkers()
	var helpers sync.WaitGroup
	helpers.Go(func() { e.control.run(ctx.Done()) })
	e.mu.Lock()
	e.ctx = ctx
	for _, l := range e.links {
		e.linked.Go(func() { l.run(ctx) })
	}
	e.mu.Unlock()
	if len(e.discovery.sources) > 0 {
		helpers.Go(func() { e.discovery.run(ctx) })
	}
	<-ctx.Done()
	return e.drain(&helpers)
}

// Deliver is called by the read loops: see [conn.Sink].
func (e *engine) Deliver(c *conn.Conn, msgs []handler.Delivery) {
	dead, overflow, err := e.queue.put(msgs)
	for _, m := range dead {
		e.workers.skip(m)
	}
	switch {
	case err == errQueueClosed:
		e.giveBackLate(overflow)
	case err == errQueueHeld:
		e.control.refuse(overflow)
	case err != nil:
		e.control.overflow(c, overflow, err)
	default:
		e.control.arrived()
	}
}

// giveBackLate gives back messages that have come in the drain.
func (e *engine) giveBackLate(msgs []handler.Delivery) {
	var left []Abandoned
	for i := range msgs {
		if m := &msgs[i]; !e.workers.giveBack(m, handler.Interrupted, 0) {
			left = append(left, newAbandoned(m, false))
		}
	}
	e.mu.Lock()
	e.unanswered = append(e.unanswered, left...)
	e.mu.Unlock()
}

// Refused is called by the read loops: see [conn.Sink].
func (e *engine) Refused(c *conn.Conn, err error) {
	e.events.post(eventRefused, event{ConnEvent: e.connEvent(c.Addr(), err)})
}

// Yielded is called by the write loops: see [conn.Sink].
func (e *engine) Yielded(*conn.Conn) { e.control.poke() }

func (e *engine) connEvent(addr string, err error) ConnEvent {
	return ConnEvent{NSQD: addr, Topic: e.cfg.sub.Topic, Channel: e.cfg.sub.Channel, Err: err}
}
