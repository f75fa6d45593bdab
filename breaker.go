package nsqx

import (
	"cmp"
	"fmt"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
)

// Backoff are the settings of a consumer's breaker. When nearly all messages
// fail, something that they need is down; then the consumer asks nsqd for
// nothing for a while, lets a single message try, and goes on when that
// succeeds. NSQ calls that backoff. Other than there it goes by the rate of
// failures, so that one message that always fails does not stop the others.
//
// A failure is a message that is requeued for an error (the last row of the
// table of [Consumer]). The same message counts once while its failures follow
// closely on each other. Zero fields mean the defaults.
type Backoff struct {
	MinResults int           // results needed within Period to open, 1 or more. Defaults to 20
	Failures   float64       // part of them that must have failed, above 0 and up to 1. Defaults to 0.9
	Period     time.Duration // how far it looks back, 1 s or more. Defaults to 10 s
	First      time.Duration // how long it is open first; doubled each time the trial fails. Defaults to 1 s
	Max        time.Duration // how long it is open at most, no less than First. Defaults to 60 s
}

var defaultBackoff = Backoff{MinResults: 20, Failures: 0.9, Period: 10 * time.Second, First: time.Second, Max: time.Minute}

// check fills in the defaults, and returns what is wrong.
func (b *Backoff) check() (fault string) {
	b.MinResults = cmp.Or(b.MinResults, defaultBackoff.MinResults)
	b.Failures = cmp.Or(b.Failures, defaultBackoff.Failures)
	b.Period = cmp.Or(b.Period, defaultBackoff.Period)
	b.First = cmp.Or(b.First, defaultBackoff.First)
	b.Max = cmp.Or(b.Max, max(defaultBackoff.Max, b.First))
	switch {
	case b.MinResults < 1:
		return fmt.Sprintf("has MinResults %d, want 1 or more", b.MinResults)
	case !(b.Failures > 0 && b.Failures <= 1):
		return fmt.Sprintf("has Failures %v, want more than 0, up to 1", b.Failures)
	case b.Period < time.Second:
		return fmt.Sprintf("has Period %v, want 1s or more", b.Period)
	case b.First < time.Millisecond || b.Max < b.First:
		return fmt.Sprintf("has First %v and Max %v, want 1ms or more, and Max no less than First", b.First, b.Max)
	}
	return ""
}

// failures counts failed messages, but not the same one again and again.
type failures struct {
	count   uint64
	repeats uint64
	recent  [32]failure // a ring
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

// failed is told of each message that is about to be requeued for an error,
// before nsqd is: if that opens the breaker, RDY is closed before the answer
// makes room for another message.
func (c *control) failed(m *handler.Delivery) {
	src, delivered := m.Source().(*conn.Conn)
	switch {
	case c.breaker == nil:
		return
	case !delivered: // Consumer.Process was called
		return
	case src.Context().Err() != nil: // the handler may have failed because its connection has ended just now
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

// failedTrial is failed for a message that was given up: it is a failure only if it
// was to try whether messages succeed again.
func (c *control) failedTrial(m *handler.Delivery) {
	if c.watching.Load() {
		c.failed(m)
	}
}

// record tells the closed breaker how things stand. The caller holds mu.
func (c *control) record() {
	if c.breaker == nil || !c.breaker.Closed() {
		return
	}
	if c.breaker.Record(c.now(), c.failures.count, c.results) {
		c.open()
	}
}

// results counts the messages that were handled, as failures are counted. The
// caller holds mu.
func (c *control) results() uint64 {
	n := c.e.workers.results()
	return max(n-min(c.failures.repeats, n), c.failures.count) // the last failure is no result yet
}

// succeededTrial is told of each success.
func (c *control) succeededTrial() {
	if c.watching.Load() {
		c.succeeded()
	}
}

// succeeded is told of each success while the breaker is not closed.
func (c *control) succeeded() {
	c.mu.Lock()
	if !c.breaker.Closed() {
		c.breaker.Result(c.now(), false, c.enough())
		c.watching.Store(!c.breaker.Closed())
	}
	c.mu.Unlock()
	c.poke() // it lets more through now
}

// enough is when the breaker may close: when it allows as many messages in
// flight as there are handlers. The caller holds mu.
func (c *control) enough() int { return c.concurrency }

// open follows the breaker, which has opened. The caller holds mu.
func (c *control) open() {
	c.watching.Store(true)
	c.hold()
	ev := c.e.connEvent("", nil)
	ev.Retry = c.breaker.OpenFor(c.now())
	c.e.events.post(eventBackoff, event{ConnEvent: ev})
	c.poke()
}
