package gate

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

// BreakerConfig is what a Breaker needs of its owner. All fields but Backoff are required.
type BreakerConfig struct {
	Backoff  *flow.Backoff // nil: the gate is always open
	Handlers int           // how many may run at once

	Finished func() uint64      // counts the messages whose handlers succeeded
	Watching *atomic.Bool       // set while Succeeded is to be called after each success: see pool.Config
	Changed  func()             // called without a lock when more or fewer messages may be in flight
	Post     func(notify.Event) // takes an event when the breaker opens, lets a message try, and closes
}

// Breaker is a gate that a [flow.Breaker] shuts while nearly all messages fail. Its methods are safe
// for concurrent use.
type Breaker struct {
	cfg      BreakerConfig
	start    time.Time
	failures atomic.Uint64 // messages whose handlers have failed
	answered atomic.Uint64 // messages that ended by the word of their handlers, without a FIN of a success

	mu       sync.Mutex // comes before the locks of the pool
	rule     *flow.Breaker[failure]
	handlers int
	stopped  bool
	since    time.Time // when it opened first; zero while it is closed
	err      error     // of the last failure
}

// failure identifies a message.
type failure struct {
	nsqd string
	id   handler.ID
}

// NewBreaker returns a closed breaker.
func NewBreaker(cfg BreakerConfig) *Breaker {
	b := &Breaker{cfg: cfg, start: time.Now(), handlers: cfg.Handlers}
	if cfg.Backoff != nil {
		b.rule = flow.NewBreaker[failure](*cfg.Backoff)
	}
	return b
}

// Room implements control.Gate.
func (b *Breaker) Room() (n int, holds time.Duration) {
	if b.rule == nil {
		return math.MaxInt, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now, probing := b.now(), b.rule.Probing()
	b.rule.Tick(now, b.good)
	n = b.rule.Limit(now)
	if b.rule.Probing() && !probing {
		b.tell(observe.BackoffProbe, 0)
	}
	return n, b.rule.Holds(now)
}

// Failed takes a message whose handler has failed, before nsqd is told: while the breaker is open, RDY
// is closed before the answer makes room for another message. outage reports whether the run tells
// nothing of the message: it was the probe, or the breaker is open.
func (b *Breaker) Failed(m *handler.Delivery, err error) (outage bool) {
	b.failures.Add(1)
	if !b.counts(m) || m.Source().Context().Err() != nil { // it may have failed because its connection has just ended
		return false
	}
	open, outage := b.failed(m, err)
	if open {
		b.cfg.Changed()
	}
	return outage
}

// Failures counts the calls of Failed.
func (b *Breaker) Failures() uint64 { return b.failures.Load() }

// failed is Failed, and reports whether the breaker is open now.
func (b *Breaker) failed(m *handler.Delivery, err error) (open, outage bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, received := b.now(), b.received(m)
	if !b.stopped {
		b.err = err
		if b.rule.Failed(now, received, failure{m.NSQD(), m.ID}, b.handlers, b.good) {
			b.opened(now)
		}
	}
	return b.rule.Open(), !b.rule.Closed() && b.rule.Outage(now, received, b.good)
}

// opened acts on the rule, which has opened. The caller holds mu.
func (b *Breaker) opened(now time.Duration) {
	if b.since.IsZero() {
		b.since = time.Now()
	}
	b.cfg.Watching.Store(true)
	b.tell(observe.BackoffOpen, b.rule.Holds(now))
}

// Outage reports whether a message that has failed, and has no attempts left, is to be spared: all
// messages fail at present.
func (b *Breaker) Outage(m *handler.Delivery) bool {
	if !b.counts(m) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rule.Outage(b.now(), b.received(m), b.good)
}

// Answered takes a message that its handler has ended otherwise than by a success. What the handler
// needs works.
func (b *Breaker) Answered() {
	b.answered.Add(1)
	if b.cfg.Watching.Load() {
		b.Succeeded()
	}
}

// Deferred takes a message that its handler wants again later. It is no failure, but no proof that an
// outage is over either.
func (b *Breaker) Deferred() { b.answered.Add(1) }

// Succeeded takes a success. It is called only while the breaker is not closed.
func (b *Breaker) Succeeded() {
	b.mu.Lock()
	if !b.rule.Closed() {
		if b.rule.Succeeded(b.handlers); b.rule.Closed() {
			b.tell(observe.BackoffClosed, 0)
			b.since, b.err = time.Time{}, nil
			b.cfg.Watching.Store(false)
		}
	}
	b.mu.Unlock()
	b.cfg.Changed()
}

// SetHandlers changes how many handlers may run at once.
func (b *Breaker) SetHandlers(n int) {
	b.mu.Lock()
	b.handlers = n
	b.mu.Unlock()
}

// Stop is for the drain: failures no longer count.
func (b *Breaker) Stop() {
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
}

// State returns how many times in a row the breaker has opened, since when it is open, and the last
// error; zero if it is closed.
func (b *Breaker) State() (level int, since time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rule == nil || b.rule.Closed() {
		return 0, time.Time{}, nil
	}
	return b.rule.Level(), b.since, b.err
}

// counts reports whether a message counts: it was delivered, not given to Consumer.Process.
func (b *Breaker) counts(m *handler.Delivery) bool {
	_, delivered := m.Source().(*conn.Conn)
	return b.rule != nil && delivered
}

// now is the present instant, as the rule counts it.
func (b *Breaker) now() time.Duration { return time.Since(b.start) }

// received is when a message was received, as the rule counts instants.
func (b *Breaker) received(m *handler.Delivery) time.Duration { return m.Received().Sub(b.start) }

// good counts the messages whose handlers have not failed.
func (b *Breaker) good() uint64 { return b.cfg.Finished() + b.answered.Load() }

func (b *Breaker) tell(state observe.BackoffState, delay time.Duration) {
	why := b.rule.Why()
	b.cfg.Post(notify.Event{
		Kind: notify.Backoff, ConnEvent: observe.ConnEvent{Retry: delay, Err: b.err},
		State: state, Since: b.since, Failed: why.Failed, Results: why.Results,
	})
}
