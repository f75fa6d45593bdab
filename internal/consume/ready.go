package consume

import (
	"errors"
	"fmt"

	"github.com/nsqx/nsqx/observe"
)

// Ready returns a channel that is closed once discovery has answered, the channel is registered at
// nsqlookupds, each nsqd was tried, and one is subscribed or there is none.
func (c *Consumer) Ready() <-chan struct{} { return c.ready }

// checkReady closes ready if it is time, and tells Start.
func (c *Consumer) checkReady() {
	c.mu.Lock()
	running := c.ctx != nil
	c.mu.Unlock()
	select {
	case c.life.news <- struct{}{}:
	default:
	}
	if running && c.discovery.Answered() && c.links.Tried() && (len(c.links.Conns()) > 0 || c.links.Len() == 0) {
		c.readied.Do(func() { close(c.ready) })
	}
}

// Healthy returns nil if an nsqd is connected or the topic does not exist yet; otherwise
// ErrNotRunning, ErrNoNSQD with the reasons, or ErrStuck.
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
	case c.discovery.Reachable() && c.links.Len() == 0:
		return nil // the topic does not exist yet
	}
	return noNSQD(c.links.Failures(), c.discovery.Failures())
}

// Live returns nil unless a restart would help: nil before Run and while Run ends.
func (c *Consumer) Live() error {
	c.mu.Lock()
	running, ended := c.ctx != nil && c.ctx.Err() == nil, c.ended
	c.mu.Unlock()
	switch {
	case ended:
		return observe.ErrNotRunning
	case running && c.control.Stuck():
		return observe.ErrStuck
	}
	return nil
}

// maxReasons is how many reasons of each kind an error has.
const maxReasons = 8

// noNSQD returns an ErrNoNSQD with the reasons.
func noNSQD(reasons ...[]error) error {
	var all []error
	for _, errs := range reasons {
		more := len(errs) - maxReasons
		if all = append(all, errs[:min(len(errs), maxReasons)]...); more > 0 {
			all = append(all, fmt.Errorf("and %d more", more))
		}
	}
	if len(all) == 0 {
		return observe.ErrNoNSQD
	}
	return fmt.Errorf("%w: %w", observe.ErrNoNSQD, errors.Join(all...))
}
