package redial

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/notify"
)

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 10 * time.Second

	// steady is how long a connection must have lasted for the schedule to begin again.
	steady = 10 * time.Second
)

// newSchedule returns the pauses between dials of one address. It never stops.
func newSchedule() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstPause),
		backoff.WithMaxInterval(maxPause*2/3), // jitter comes on top
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxElapsedTime(0),
	)
}

// dialPause is the pause after a failure: a long one if a quick retry is pointless.
func dialPause(schedule *backoff.ExponentialBackOff, err error) time.Duration {
	pause := schedule.NextBackOff()
	if notify.Permanent(err) {
		pause = maxPause/2 + rand.N(maxPause/2)
	}
	return pause
}

// pause is the pause after a connection that has lasted for a while.
func (l *line) pause(c *conn.Conn, err error, lasted time.Duration) time.Duration {
	if l.set.cfg.Sub != nil {
		if lasted >= steady {
			l.schedule.Reset()
		}
		return dialPause(l.schedule, err)
	}
	if Lasting(err) {
		return dialPause(l.schedule, err)
	}
	// What nsqd refuses of a publish is no sign that it is down, and a connection that has
	// published may be dialled again at once.
	useful := err == nil || c.Stats().Published > 0
	if useful || lasted >= steady || notify.Permanent(err) {
		l.schedule.Reset()
	}
	if useful {
		return 0
	}
	return l.schedule.NextBackOff()
}

// Lasting reports whether the failure of an address will not heal by itself. What nsqd refuses on a
// connection that stood is no such failure: it takes other publishes.
func Lasting(err error) bool {
	e, ok := errors.AsType[*conn.Error](err)
	return ok && e.Permanent() && e.Phase != conn.PhaseStream
}
