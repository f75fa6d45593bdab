package control

import (
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

// breaker is a [flow.Breaker] that posts an event when it opens, lets a message try, and closes.
type breaker struct {
	*flow.Breaker[failure]
	post  func(notify.Event)
	since time.Time // when it opened first; zero while it is closed
	err   error     // of the last failure
}

// failure identifies a message.
type failure struct {
	nsqd string
	id   handler.ID
}

func newBreaker(cfg flow.Backoff, post func(notify.Event)) *breaker {
	return &breaker{Breaker: flow.NewBreaker[failure](cfg), post: post}
}

// Limit is [flow.Breaker.Limit].
func (b *breaker) Limit(now time.Duration) int {
	probing := b.Probing()
	n := b.Breaker.Limit(now)
	if b.Probing() && !probing {
		b.tell(observe.BackoffProbe, 0)
	}
	return n
}

// reason returns since when the breaker is open, and the last error; zero if it is closed.
func (b *breaker) reason() (since time.Time, err error) {
	if b.Closed() {
		return time.Time{}, nil
	}
	return b.since, b.err
}

func (b *breaker) tell(state observe.BackoffState, delay time.Duration) {
	why := b.Why()
	b.post(notify.Event{
		Kind: notify.Backoff, ConnEvent: observe.ConnEvent{Retry: delay, Err: b.err},
		State: state, Since: b.since, Failed: why.Failed, Results: why.Results,
	})
}

// Failed takes a message whose handler has failed, before nsqd is told: if that opens the breaker,
// RDY is closed before the answer makes room for another message. outage reports whether the run
// tells nothing of the message: it was the probe, or the breaker is open.
func (c *Control) Failed(m *handler.Delivery, err error) (outage bool) {
	if c.breaker == nil {
		return false
	}
	src, delivered := m.Source().(*conn.Conn)
	switch {
	case !delivered: // by Consumer.Process
		return false
	case src.Context().Err() != nil: // the handler may have failed because its connection has just ended
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b, received := c.breaker, c.receivedAt(m)
	if c.running {
		b.err = err
		if b.Failed(c.now(), received, failure{m.NSQD(), m.ID}, c.concurrency, c.countGood) {
			c.open()
		}
	}
	return !b.Closed() && b.Outage(c.now(), received, c.countGood)
}

// Outage reports whether a message that has failed, and has no attempts left, is to be spared: all
// messages fail at present.
func (c *Control) Outage(m *handler.Delivery) bool {
	if _, delivered := m.Source().(*conn.Conn); c.breaker == nil || !delivered {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.breaker.Outage(c.now(), c.receivedAt(m), c.countGood)
}

// Answered takes a message that its handler has ended otherwise than by a success. What the handler
// needs works.
func (c *Control) Answered() {
	c.answered.Add(1)
	if c.cfg.Watching.Load() {
		c.Succeeded()
	}
}

// Deferred takes a message that its handler wants again later. It is no failure, but no proof that an
// outage is over either.
func (c *Control) Deferred() { c.answered.Add(1) }

// Succeeded takes a success. It is called only while the breaker is not closed.
func (c *Control) Succeeded() {
	c.mu.Lock()
	if b := c.breaker; !b.Closed() {
		if b.Succeeded(c.concurrency); b.Closed() {
			b.tell(observe.BackoffClosed, 0)
			b.since, b.err = time.Time{}, nil
			c.cfg.Watching.Store(false)
		}
	}
	c.mu.Unlock()
	c.Wake() // more may be in flight now
}

// tickBreaker lets a closed breaker forget old results. The caller holds mu.
func (c *Control) tickBreaker() {
	if c.breaker != nil {
		c.breaker.Tick(c.now(), c.countGood)
	}
}

// countGood counts the messages whose handlers have not failed. The caller holds mu.
func (c *Control) countGood() uint64 { return c.pool.Snapshot().Finished + c.answered.Load() }

// receivedAt is when a message was received, as the breaker counts instants.
func (c *Control) receivedAt(m *handler.Delivery) time.Duration { return m.Received().Sub(c.start) }

// open acts on the breaker, which has opened. The caller holds mu.
func (c *Control) open() {
	if c.breaker.since.IsZero() {
		c.breaker.since = time.Now()
	}
	c.cfg.Watching.Store(true)
	c.suspend()
	c.breaker.tell(observe.BackoffOpen, c.breaker.OpenFor(c.now()))
	c.Wake()
}
