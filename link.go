package nsqx

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx/conn"
)

const (
	redialFirst = 100 * time.Millisecond
	redialMax   = 10 * time.Second

	// healthy is how long a connection must have been subscribed for the next
	// dial to be an early one.
	healthy = 10 * time.Second
)

// newRedial returns the schedule of redialling one address. It never stops.
func newRedial() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(redialFirst),
		backoff.WithMaxInterval(redialMax*2/3), // jitter comes on top
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxElapsedTime(0),
	)
}

// link keeps one address connected, for as long as the consumer runs and the
// address is wanted.
type link struct {
	e    *engine
	addr string
	anew chan struct{} // holds one: dial at once

	// Guarded by e.mu.
	wanted    bool       // dial again when the connection ends
	conn      *conn.Conn // nil unless subscribed
	reached   bool       // it was subscribed once
	dials     uint64
	lastErr   error
	retryAt   time.Time
	unproven  bool       // ended in the drain without nsqd's confirmation
	lastStats conn.Stats // of the connections that have ended, added up
}

// run dials and serves until ctx ends, or the address is wanted no more. A
// connection that is subscribed then goes on: the drain ends it, or nsqd.
func (l *link) run(ctx context.Context) {
	redial := newRedial()
	for l.again(ctx) {
		kind := eventDialError
		c, err := conn.Dial(ctx, l.addr, l.e.cfg.conn, &l.e.cfg.sub)
		if err == nil {
			if !l.attach(c) {
				c.Abort(nil) // no RDY was sent, so there is nothing to hand back
				_ = c.Serve(l.e)
				return
			}
			kind = eventDisconnect
			err = l.serve(c, redial)
		}
		delay := redial.NextBackOff()
		if permanent(err) {
			delay = redialMax/2 + rand.N(redialMax/2) // it will not heal by itself
		}
		if !l.report(ctx, kind, err, delay) {
			return
		}
		select {
		case <-time.After(delay):
		case <-l.anew:
		case <-ctx.Done():
		}
	}
}

// again says whether to dial. If the address is wanted no more, the link is
// taken off the list.
func (l *link) again(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	e := l.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if !l.wanted {
		e.links = slices.DeleteFunc(e.links, func(x *link) bool { return x == l })
		return false
	}
	l.dials++
	return true
}

// attach takes in a connection that has just subscribed. It returns false if
// the drain has begun: nobody would end the connection.
func (l *link) attach(c *conn.Conn) bool {
	e := l.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.draining {
		return false
	}
	l.conn, l.lastErr, l.reached = c, nil, true
	select {
	case <-l.anew: // it is connected by now
	default:
	}
	e.control.poke()
	return true
}

// serve runs an attached connection to its end.
func (l *link) serve(c *conn.Conn, redial *backoff.ExponentialBackOff) error {
	e := l.e
	e.events.post(eventConnect, event{ConnEvent: e.connEvent(l.addr, nil)})
	e.checkReady()

	began := time.Now()
	err := c.Serve(e)

	if time.Since(began) >= healthy {
		redial.Reset()
	}
	e.mu.Lock()
	l.conn = nil
	l.unproven = e.draining && err != nil
	l.lastErr = err
	l.lastStats = pastStats(l.lastStats, c.Stats())
	e.mu.Unlock()
	e.control.left(c)
	return err
}

// report tells what has failed, and returns whether to dial again.
func (l *link) report(ctx context.Context, kind eventKind, err error, delay time.Duration) (again bool) {
	ev := l.e.connEvent(l.addr, err)
	if again = ctx.Err() == nil; again {
		ev.Retry = delay
		l.e.mu.Lock()
		l.lastErr, l.retryAt = err, time.Now().Add(delay)
		l.e.mu.Unlock()
	} else if kind == eventDialError {
		return false // given up with ctx
	}
	l.e.events.post(kind, event{ConnEvent: ev})
	return again
}

// permanent says whether a quick retry is pointless.
func permanent(err error) bool {
	e, ok := errors.AsType[*conn.Error](err)
	return ok && e.Permanent()
}
