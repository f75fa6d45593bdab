package nsqx

import (
	"fmt"

	"github.com/nsqx/nsqx/conn"
)

// What can be changed while the consumer runs.

// startWorkers starts as many workers as there are to be.
func (c *control) startWorkers() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.e.workers.setConcurrency(c.concurrency)
	c.running = true
}

// stop is for the drain: failures change nothing any more, and nobody is told of
// them.
func (c *control) stop() {
	c.mu.Lock()
	c.running = false
	c.mu.Unlock()
}

func (c *control) pause(paused bool) {
	c.mu.Lock()
	c.paused = paused
	if paused {
		c.hold()
	}
	c.mu.Unlock()
	c.poke()
}

func (c *control) setConcurrency(n int) error {
	if n < 1 || n > maxConcurrency {
		return &OptionError{Option: "SetConcurrency", Reason: fmt.Sprintf("is %d, want 1 to %d", n, maxConcurrency)}
	}
	c.mu.Lock()
	c.concurrency = n
	if c.running {
		c.e.workers.setConcurrency(n)
	}
	c.mu.Unlock()
	c.poke()
	return nil
}

func (c *control) setMaxInFlight(n int) error {
	if n < 0 || n > maxInFlight {
		return &OptionError{Option: "SetMaxInFlight", Reason: fmt.Sprintf("is %d, want 0 to %d", n, maxInFlight)}
	}
	c.mu.Lock()
	c.fixed, c.careful = n, false
	c.mu.Unlock()
	c.poke()
	return nil
}

// left takes a connection that has ended out of the account.
func (c *control) left(conn *conn.Conn) {
	c.mu.Lock()
	delete(c.flood, conn)
	c.mu.Unlock()
	c.poke()
}

// stuck says whether every handler works on a message that nsqd has given to
// someone else.
func (c *control) stuck() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.overdue >= c.concurrency
}

// state is what Stats shows of the control.
func (c *control) state() (concurrency, maxInFlight int, paused bool, backoff int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.breaker != nil {
		backoff = c.breaker.Level()
	}
	return c.concurrency, c.total, c.paused, backoff
}
