package control

import (
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

// failures counts failed messages, but a message that fails again and again only once.
type failures struct {
	count   uint64
	repeats uint64
	recent  [32]failure
	next    int
}

type failure struct {
	nsqd string
	id   handler.ID
}

func (f *failures) add(m *handler.Delivery) {
	this := failure{m.NSQD(), m.ID}
	for _, known := range f.recent {
		if known == this {
			f.repeats++
			return
		}
	}
	f.recent[f.next] = this
	f.next = (f.next + 1) % len(f.recent)
	f.count++
}

// Failed takes a message that is about to be requeued for an error, before nsqd is told: if that
// opens the breaker, RDY is closed before the answer makes room for another message.
func (c *Control) Failed(m *handler.Delivery) {
	src, delivered := m.Source().(*conn.Conn)
	switch {
	case c.breaker == nil:
		return
	case !delivered: // by Consumer.Process
		return
	case src.Context().Err() != nil: // the handler may have failed because its connection has just ended
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running {
		return
	}
	c.failures.add(m)
	if !c.breaker.Closed() {
		if c.breaker.Result(c.now(), true, c.enough()) {
			c.open()
		}
		return
	}
	c.record()
}

// FailedProbe is Failed for a message that is given up: it is a failure only while the breaker is
// not closed.
func (c *Control) FailedProbe(m *handler.Delivery) {
	if c.cfg.Watching.Load() {
		c.Failed(m)
	}
}

// SucceededProbe is Succeeded while the breaker is not closed.
func (c *Control) SucceededProbe() {
	if c.cfg.Watching.Load() {
		c.Succeeded()
	}
}

// Succeeded takes a success. It is called only while the breaker is not closed.
func (c *Control) Succeeded() {
	c.mu.Lock()
	if !c.breaker.Closed() {
		c.breaker.Result(c.now(), false, c.enough())
		c.cfg.Watching.Store(!c.breaker.Closed())
	}
	c.mu.Unlock()
	c.Wake() // more may be in flight now
}

// record tells the closed breaker how many messages have failed. The caller holds mu.
func (c *Control) record() {
	if c.breaker == nil || !c.breaker.Closed() {
		return
	}
	if c.breaker.Record(c.now(), c.failures.count, c.countResults) {
		c.open()
	}
}

// countResults counts the messages handled, as failures are counted. The caller holds mu.
func (c *Control) countResults() uint64 {
	n := c.pool.Snapshot().Results
	return max(n-min(c.failures.repeats, n), c.failures.count) // the last failure is no result yet
}

// enough is the limit at which the breaker closes: one message a handler. The caller holds mu.
func (c *Control) enough() int { return c.concurrency }

// open acts on the breaker, which has opened. The caller holds mu.
func (c *Control) open() {
	c.cfg.Watching.Store(true)
	c.suspend()
	c.cfg.Post(notify.Event{Kind: notify.Backoff, ConnEvent: observe.ConnEvent{Retry: c.breaker.OpenFor(c.now())}})
	c.Wake()
}
