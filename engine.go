package nsqx

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/middleware"
)

// ErrAlreadyRun is returned by the second Run of a consumer.
var ErrAlreadyRun = errors.New("nsqx: the consumer runs already, or has run: make a new one")

// engine is a consumer without its type: connections put messages into its
// queue, workers take them from there through the chain, and answer.
type engine struct {
	cfg       *consumerConfig
	logger    *slog.Logger
	chain     handler.Raw
	queue     *queue
	workers   workers
	publisher *publisher
	events    *events
	delayCut  atomic.Bool // the warning was given

	settling     context.Context // ends when even dead letters may not be waited for
	stopSettling context.CancelCauseFunc

	started atomic.Bool

	mu         sync.Mutex
	draining   bool
	unanswered []Abandoned // came in the drain, when nothing could be answered
	links      []*link     // one for each address; the slice never changes
}

func newEngine(cfg *consumerConfig, raw handler.Raw) *engine {
	logger := cfg.logger.With("topic", cfg.sub.Topic, "channel", cfg.sub.Channel)
	e := &engine{
		cfg:    cfg,
		logger: logger,
		queue:  newQueue(4*cfg.maxInFlight + len(cfg.nsqds)),
		events: newEvents(logger, &cfg.hooks),
	}
	e.settling, e.stopSettling = context.WithCancelCause(context.Background())
	e.publisher = newPublisher(cfg.conn, cfg.nsqds)
	e.workers.init(e)
	for _, addr := range cfg.nsqds {
		e.links = append(e.links, &link{e: e, addr: addr})
	}

	// From the outside in; built once.
	var observe handler.Middleware
	if cfg.telemetry != nil {
		observe = cfg.telemetry.Consumer(ConsumerInfo{
			Topic: cfg.sub.Topic, Channel: cfg.sub.Channel, ClientID: cfg.conn.ClientID, Concurrency: cfg.concurrency,
		})
	}
	e.chain = handler.Chain(
		middleware.Recover(),
		observe,
		e.settle,
		middleware.Recover(), // so that a panic of the user's middleware is a failure like any other
		handler.Chain(cfg.middleware...),
		middleware.Recover(), // so that they see an error, not a panic
	)(raw)
	return e
}

// process runs a message through the chain and returns what was decided.
func (e *engine) process(ctx context.Context, m *handler.Message) handler.Outcome {
	err := e.chain(ctx, m)
	out := m.Outcome()
	if out.Disposition == handler.Pending {
		return e.rescue(ctx, m, err)
	}
	// Only what the outermost Recover has made is looked at: to walk an error of
	// the user's is user code.
	if p, ok := err.(*handler.PanicError); ok && out.Err != err {
		e.logPanic(ctx, m, p) // of the telemetry, when all was decided
	}
	call(e.events, e.cfg.hooks.settle, m)
	return out
}

// rescue settles a message whose chain has ended before all was done. What is
// decided already stays.
func (e *engine) rescue(ctx context.Context, m *handler.Message, err error) handler.Outcome {
	out := m.Outcome()
	if out.Disposition == handler.Pending {
		out = e.unsettled(ctx, m, err)
		m.SetOutcome(out)
		call(e.events, e.cfg.hooks.settle, m)
	}
	return out
}

// run is the life of a consumer. What it starts, it waits for: workers, a link
// for each address, the event goroutine.
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
	e.workers.start(e.cfg.concurrency)
	var linked sync.WaitGroup
	for _, l := range e.links {
		linked.Go(func() { l.run(ctx) })
	}
	<-ctx.Done()
	return e.drain(&linked)
}

// Deliver is called by the read loops: see [conn.Sink].
func (e *engine) Deliver(c *conn.Conn, msgs []handler.Message) {
	dead, err := e.queue.put(msgs)
	for _, m := range dead {
		e.workers.skip(m)
	}
	if err == nil {
		return
	}
	d, delay := handler.Interrupted, time.Duration(0)
	if err != errQueueClosed {
		if s := c.Stats(); s.InFlight > 4*s.Share {
			c.Abort(&conn.Error{Addr: c.Addr(), Phase: conn.PhaseStream, Err: err})
		}
		// Another connection has filled the queue. This one's RDY is open: its
		// messages must not come back at once.
		d, delay = handler.Requeue, time.Second
	}
	var left []Abandoned
	for i := range msgs {
		if !e.workers.giveBack(&msgs[i], d, delay) {
			left = append(left, newAbandoned(&msgs[i], false))
		}
	}
	if err == errQueueClosed && left != nil {
		e.mu.Lock()
		e.unanswered = append(e.unanswered, left...)
		e.mu.Unlock()
	}
}

// Refused is called by the read loops: see [conn.Sink].
func (e *engine) Refused(c *conn.Conn, err error) {
	e.events.post(eventRefused, e.connEvent(c.Addr(), err))
}

func (e *engine) connEvent(addr string, err error) ConnEvent {
	return ConnEvent{NSQD: addr, Topic: e.cfg.sub.Topic, Channel: e.cfg.sub.Channel, Err: err}
}

// conns returns the connections that are subscribed. The caller holds e.mu.
func (e *engine) conns() []*conn.Conn {
	var conns []*conn.Conn
	for _, l := range e.links {
		if l.conn != nil {
			conns = append(conns, l.conn)
		}
	}
	return conns
}

// distribute tells each connection its share of MaxInFlight. The caller holds
// e.mu.
func (e *engine) distribute() {
	conns := e.conns()
	limits := make([]int, len(conns))
	for i, c := range conns {
		limits[i] = c.MaxRDY()
	}
	for i, share := range flow.Distribute(e.cfg.maxInFlight, limits) {
		conns[i].SetShare(share)
	}
}
