package consume

import (
	"errors"
	"fmt"

	"github.com/nsqx/nsqx/observe"
)

// Ready returns a channel that is closed once every known nsqd was subscribed at least once and
// discovery has answered.
func (c *Consumer) Ready() <-chan struct{} { return c.ready }

// checkReady closes ready if it is time.
func (c *Consumer) checkReady() {
	c.mu.Lock()
	running := c.ctx != nil
	c.mu.Unlock()
	if running && c.discovery.Answered() && c.links.Reached() {
		c.readied.Do(func() { close(c.ready) })
	}
}

// Healthy returns nil if an nsqd is connected or the topic does not exist yet; otherwise
// ErrNotRunning, ErrNoNSQD or ErrStuck.
func (c *Consumer) Healthy() error {
	c.mu.Lock()
	running := c.ctx != nil && !c.draining && c.ctx.Err() == nil
	c.mu.Unlock()
	switch {
	case !running:
		return observe.ErrNotRunning
	case c.control.Stuck():
		return observe.ErrStuck
	case len(c.links.Conns()) > 0:
		return nil
	case c.discovery.Answered() && c.links.Len() == 0:
		return nil // the topic does not exist yet
	}
	if failures := c.links.Failures(); len(failures) > 0 {
		return fmt.Errorf("%w: %w", observe.ErrNoNSQD, errors.Join(failures...))
	}
	return observe.ErrNoNSQD
}
