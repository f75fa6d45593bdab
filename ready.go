package nsqx

import (
	"errors"
	"fmt"
)

// What [Consumer.Healthy] returns, by itself or wrapped.
var (
	ErrNotRunning = errors.New("nsqx: the consumer does not run, or is ending")
	ErrNoNSQD     = errors.New("nsqx: no nsqd can be reached")
	ErrStuck      = errors.New("nsqx: no handler returns: nsqd has given all their messages to others")
)

// checkReady closes ready when every address that is known is, or was, subscribed,
// and discovery has answered.
func (e *engine) checkReady() {
	answered := e.discovery.answered()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isReady || e.ctx == nil || !answered {
		return
	}
	for _, l := range e.links {
		if l.wanted && !l.reached {
			return
		}
	}
	e.isReady = true
	close(e.ready)
}

// healthy is Consumer.Healthy.
func (e *engine) healthy() error {
	answered := e.discovery.answered()
	stuck := e.control.stuck()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx == nil || e.draining || e.ctx.Err() != nil {
		return ErrNotRunning
	}
	if stuck {
		return ErrStuck
	}
	var failures []error
	for _, l := range e.links {
		switch {
		case l.conn != nil:
			return nil
		case l.lastErr != nil:
			failures = append(failures, l.lastErr)
		}
	}
	if len(e.links) == 0 && answered {
		return nil // the topic does not exist yet
	}
	if len(failures) == 0 {
		return ErrNoNSQD
	}
	return fmt.Errorf("%w: %w", ErrNoNSQD, errors.Join(failures...))
}
