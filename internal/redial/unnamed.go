package redial

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nsqx/nsqx/internal/notify"
)

const (
	// keepTime is how long an address is dialled that nobody names any more while others are
	// connected, and lastKeepTime while none is.
	keepTime     = 24 * time.Hour
	lastKeepTime = 7 * 24 * time.Hour

	// longPause is the longest pause between two dials of such an address.
	longPause = time.Minute

	// slowdown is the age of such an address divided by its pause.
	slowdown = 60
)

// Forget tells that nobody names an address any more. If it was never connected it is removed, unless
// a dial that is under way succeeds. Else it is dialled on, since an outage looks the same, but less and
// less often, and removed after a day, or a week if no other address is connected. Its connection, if it
// has one, stays.
//
// A lazy set removes an address.
func (s *Set) Forget(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch l := s.find(addr); {
	case l == nil:
	case s.cfg.Lazy || !l.reached:
		l.drop()
	case l.unnamed.IsZero():
		l.unnamed = time.Now()
		s.trim()
	}
}

// Purge removes the addresses that Forget was called for and that were not connected since then.
func (s *Set) Purge(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range slices.Clone(s.lines) {
		if !l.unnamed.IsZero() && l.conn == nil && l.lost.Before(since) {
			l.drop()
		}
	}
}

// drop removes the line when its connection has ended. The caller holds set.mu.
func (l *line) drop() {
	if l.set.closed { // nothing is dialled, and Unconfirmed needs the address
		return
	}
	l.wanted = false
	switch {
	case !l.running:
		l.set.remove(l)
	case l.conn == nil:
		l.dialNow() // to see that it is not wanted
	}
}

// trim removes addresses beyond the bound. The caller holds mu.
func (s *Set) trim() {
	for s.cfg.Max > 0 && !s.closed {
		var oldest *line
		wanted := 0
		for _, l := range s.lines {
			if !l.wanted {
				continue
			}
			wanted++
			if !l.unnamed.IsZero() && l.conn == nil && (oldest == nil || l.unnamed.Before(oldest.unnamed)) {
				oldest = l
			}
		}
		if wanted <= s.cfg.Max || oldest == nil {
			return
		}
		oldest.drop()
	}
}

// expired reports whether nobody has named an address for long. The caller holds set.mu.
func (l *line) expired() bool {
	keep := lastKeepTime
	if l.set.anyConnected() {
		keep = keepTime
	}
	return !l.unnamed.IsZero() && time.Since(l.unnamed) >= keep
}

// relax returns how to tell of a failed dial of an address that nobody names, and the pause after it:
// up to 10 s at first, since in an outage the address may come back unnamed, and a minute later on.
// While others are connected it has most likely moved, and the pause is a minute. The caller holds
// set.mu.
func (l *line) relax(pause time.Duration) (notify.Kind, time.Duration) {
	kind, longest := notify.DialError, min(max(time.Since(l.unnamed)/slowdown, maxPause), longPause)
	if l.set.anyConnected() {
		kind, longest = notify.UnnamedDialError, longPause
	}
	return kind, max(pause, longest*3/4+rand.N(longest/4))
}

// anyConnected reports whether any address is connected. The caller holds mu.
func (s *Set) anyConnected() bool { return len(s.Conns()) > 0 }
