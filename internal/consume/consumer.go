// Package consume is a consumer without its type: it builds the chain, connects the rooms below it
// (pool, control, connections, discovery, dead letters), and runs and drains them.
package consume

import (
	"context"
	"errors"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/control"
	"github.com/nsqx/nsqx/internal/discover"
	"github.com/nsqx/nsqx/internal/gate"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/internal/pool"
	"github.com/nsqx/nsqx/internal/publish"
	"github.com/nsqx/nsqx/internal/redial"
	"github.com/nsqx/nsqx/observe"
)

// ErrAlreadyRun is returned by the second Run of a consumer.
var ErrAlreadyRun = errors.New("nsqx: the service runs already, or has run: make a new one")

// Consumer runs the handler of one channel. Its methods are safe for concurrent use.
type Consumer struct {
	cfg       Config
	chain     handler.Raw      // nil for batches
	batch     handler.RawBatch // nil for single messages
	running   runningBatches
	events    *notify.Queue
	pool      *pool.Pool
	pause     *gate.Pause
	breaker   *gate.Breaker
	control   *control.Control
	links     *redial.Set
	discovery *discover.Discovery
	dead      *publish.Router // of dead letters
	sendDead  handler.Send
	uncounted uncounted

	watching atomic.Bool  // see pool.Config
	delayCut atomic.Bool  // the warning of a delay that was cut was given
	sparedAt atomic.Int64 // when spare has warned last, in seconds since 1970

	stale atomic.Uint64 // messages that were skipped

	settling     context.Context // ends when even dead letters are not waited for
	stopSettling context.CancelCauseFunc

	started atomic.Bool
	life    life
	ready   chan struct{}
	readied sync.Once

	mu         sync.Mutex
	ctx        context.Context // of Run; nil before
	draining   bool
	ended      bool                // Run has returned
	unanswered []observe.Abandoned // arrived in the drain when nothing could be answered
}

// New returns a consumer whose chain ends in raw. It connects to nothing before Run.
func New(cfg Config, raw handler.Raw) *Consumer {
	c := assemble(cfg)
	c.build(raw)
	return c
}

// assemble returns a consumer without a chain.
func assemble(cfg Config) *Consumer {
	if cfg.GiveUp == nil {
		cfg.GiveUp = Unset{}
	}
	topic, channel := cfg.Sub.Topic, cfg.Sub.Channel
	logger := guard.Logger(cfg.Logger).With("topic", topic, "channel", channel)
	c := &Consumer{
		cfg: cfg, ready: make(chan struct{}), life: life{news: make(chan struct{}, 1)},
		events: notify.New(logger, topic, channel, cfg.Hooks),
		dead:   publish.New(publish.Config{Conn: deadLetterConn(cfg.Conn), Lazy: true, Again: true}),
	}
	c.settling, c.stopSettling = context.WithCancelCause(context.Background())
	var group *pool.Group
	together := 1
	if b := cfg.Batch; b != nil {
		group, together = &pool.Group{
			Size: b.Size, Wait: b.Wait, Process: c.processBatch, Rescue: c.rescueBatch, Moved: func() { c.control.SlotMoved() },
		}, b.Size
	}
	var labels context.Context
	if cfg.PprofLabels {
		labels = c.labelled(context.Background())
	}
	c.pool = pool.New(pool.Config{
		Process: c.process, Rescue: c.rescue, Group: group, Early: c.early, Labels: labels,
		Watching: &c.watching, Succeeded: func() { c.breaker.Succeeded() },
		MaxRequeueDelay: cfg.MaxRequeueDelay, Unhandled: c.uncounted.add,
	})
	c.links = redial.New(redial.Config{
		Conn: cfg.Conn, Sub: &c.cfg.Sub, Sink: c, Max: cfg.Discover.Max + len(cfg.NSQDs),
		Post: c.events.Conn, Attached: c.attached, Detached: func(x *conn.Conn) { c.control.Detached(x) },
		Tried: c.checkReady, Removed: c.dead.Forget,
	})
	changed := func() { c.control.Changed() }
	c.pause = gate.NewPause(changed)
	c.breaker = gate.NewBreaker(gate.BreakerConfig{
		Backoff: cfg.Backoff, Handlers: cfg.Concurrency, Finished: func() uint64 { return c.pool.Snapshot().Finished },
		Watching: &c.watching, Changed: changed, Post: c.events.Post,
	})
	c.control = control.New(control.Config{
		Concurrency: cfg.Concurrency, SlotSize: together, MaxInFlight: cfg.MaxInFlight, MaxInFlightBytes: cfg.MaxInFlightBytes,
		FixedRDY: cfg.FixedRDY, Gates: []control.Gate{c.pause, c.breaker}, // in a pause the breaker lets no message try
		Pool: c.pool, Conns: c.links.Conns, Failed: c.breaker.Failures, Post: c.events.Post, Renew: c.links.Renew,
	})
	cfg.Discover.Topic = topic
	if !cfg.NoRegistration {
		cfg.Discover.Channel = channel
	}
	c.events.Connected(c.links.Known)
	c.discovery = discover.New(cfg.Discover, owner{c}, cfg.NSQDs)
	c.buildDead()
	return c
}

// run connects and handles messages until ctx ends, then drains. It waits for what it starts.
func (c *Consumer) run(ctx context.Context) error {
	if t := c.cfg.Telemetry; t != nil {
		if stop := t.Observe(c.Stats); stop != nil {
			defer stop()
		}
	}
	if c.cfg.PprofLabels {
		ctx = c.labelled(ctx) // pprof.Do in a handler restores them from its ctx
	}
	c.events.Start()
	c.control.Start()
	var helpers sync.WaitGroup
	helpers.Go(func() { c.control.Run(ctx.Done()) })
	c.mu.Lock()
	c.ctx = ctx
	c.mu.Unlock()
	c.links.Start(ctx)
	helpers.Go(func() { c.discovery.Run(ctx) })
	<-ctx.Done()
	defer func() {
		c.mu.Lock()
		c.ended = true
		c.mu.Unlock()
	}()
	return c.drain(&helpers)
}

// labelled returns ctx with the labels of the consumer for package runtime/pprof.
func (c *Consumer) labelled(ctx context.Context) context.Context {
	return pprof.WithLabels(ctx, pprof.Labels("topic", c.cfg.Sub.Topic, "channel", c.cfg.Sub.Channel))
}

// Pause lets no further handler start.
func (c *Consumer) Pause() { c.pause.Set(true) }

// Resume ends Pause.
func (c *Consumer) Resume() { c.pause.Set(false) }

// SetConcurrency changes the number of handlers that may run at once, at least 1.
func (c *Consumer) SetConcurrency(n int) {
	c.breaker.SetHandlers(n)
	c.control.SetConcurrency(n)
}

// SetMaxInFlight changes how many messages may be in flight; 0 is automatic.
func (c *Consumer) SetMaxInFlight(n int) { c.control.SetMaxInFlight(n) }

// SetNSQDs replaces the static addresses.
func (c *Consumer) SetNSQDs(addrs []string) { c.discovery.SetStatic(addrs) }

// Deliver implements [conn.Sink].
func (c *Consumer) Deliver(from *conn.Conn, msgs []handler.Delivery) {
	rest, waits, err := c.pool.Put(msgs, from.Works())
	switch {
	case err == pool.ErrClosed:
		c.requeueLate(rest)
	case err == pool.ErrSuspended:
		c.control.Refuse(rest)
	case err != nil:
		c.control.Overflow(from, rest, err)
	default:
		c.control.Arrived(waits || from.Full())
	}
}

// Work implements [conn.Worker].
func (c *Consumer) Work(t *conn.Turn, n int) (relieved bool) { return c.pool.Work(t, n) }

// Refused implements [conn.Sink].
func (c *Consumer) Refused(from *conn.Conn, err error) {
	if e, ok := err.(*conn.ServerError); ok && e.Code == "E_TOUCH_FAILED" {
		c.running.look()
	}
	c.events.Conn(notify.Refused, from.Addr(), err, 0)
	c.control.Wake() // nsqd may count too many messages in flight since
}

// Yielded implements [conn.Sink].
func (c *Consumer) Yielded(*conn.Conn) { c.control.Yielded() }

// attached is called when a connection is subscribed.
func (c *Consumer) attached() {
	c.control.Wake()
	c.checkReady()
}

// owner is the consumer as discovery sees it.
type owner struct{ *Consumer }

// Connect connects to an nsqd, and makes it known to dead letters.
func (o owner) Connect(addr string) {
	o.links.Connect(addr)
	o.dead.Connect(addr)
}

// Remove ends the connection to an nsqd when its messages are answered.
func (o owner) Remove(addr string) { o.links.Remove(addr) }

// Redial dials an nsqd at once.
func (o owner) Redial(addr string) { o.links.Redial(addr) }

// Forget dials an nsqd less and less often. Dead letters go to it for as long.
func (o owner) Forget(addr string) { o.links.Forget(addr) }

// Purge dials nsqds no more.
func (o owner) Purge(since time.Time) { o.links.Purge(since) }

// Post takes an event.
func (o owner) Post(ev notify.Event) { o.events.Post(ev) }

// Polled is called when a source was polled and registered with.
func (o owner) Polled() { o.checkReady() }
