package redial

import (
	"slices"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/observe"
)

// Closed reports whether Close was called.
func (s *Set) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Len returns the number of addresses.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lines)
}

// Known returns how many nsqds are connected, and of how many. Those that nobody names any more do not
// count while others are connected.
func (s *Set) Known() (connected, known int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	some := s.anyConnected()
	for _, l := range s.lines {
		switch {
		case l.conn != nil:
			connected++
			known++
		case l.wanted && (l.unnamed.IsZero() || !some):
			known++
		}
	}
	return connected, known
}

// Confirmed returns how many messages an nsqd has confirmed; 0 if its address is not known.
func (s *Set) Confirmed(addr string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.find(addr); l != nil {
		return l.stats().Published
	}
	return 0
}

// Tried reports whether every address was tried: it was connected, or a dial has failed.
func (s *Set) Tried() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if l.wanted && !l.tried {
			return false
		}
	}
	return true
}

// Failures returns the last error of each address that has one.
func (s *Set) Failures() (errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if l.lastErr != nil {
			errs = append(errs, l.lastErr)
		}
	}
	return errs
}

// Unconfirmed returns the errors of connections that ended after Close without nsqd's confirmation
// that it has read everything.
func (s *Set) Unconfirmed() (errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		errs = append(errs, l.unconfirmed...)
	}
	return errs
}

// Trying reports whether an address may soon be connected; a lazy set then dials it. c is its
// connection if there is one.
func (s *Set) Trying(addr string) (c *conn.Conn, trying bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.find(addr)
	if l == nil {
		return nil, false
	}
	return l.conn, l.conn == nil && l.trying()
}

// AnyTrying reports whether any address may soon be connected, or is; a lazy set then dials the
// first that is not. If none may, errs are the last errors of all.
func (s *Set) AnyTrying() (trying bool, errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if l.conn != nil || l.trying() {
			return true, nil
		}
		errs = append(errs, l.lastErr)
	}
	return false, errs
}

// Stats returns the counters of each address.
func (s *Set) Stats() (all []observe.ConnStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		all = append(all, l.stats())
	}
	return all
}

// stats adds up an address. The caller holds mu.
func (l *line) stats() observe.ConnStats {
	l.addLeft()
	s := observe.ConnStats{Stats: l.past, Connected: l.conn != nil, Dials: l.dials, Renewed: l.renewed, LastErr: l.lastErr}
	for _, c := range l.leaving {
		s.Stats = pastStats(s.Stats, c.Stats())
	}
	for _, c := range l.replaced {
		s.Stats = addStats(s.Stats, c.Stats())
	}
	if l.conn != nil {
		s.Stats = addStats(s.Stats, l.conn.Stats())
	} else {
		s.RetryAt = l.retryAt
	}
	s.Addr = l.addr
	return s
}

// addLeft adds up the connections whose messages are all settled. The others still count: messages that
// are settled after the end are lost. The caller holds mu.
func (l *line) addLeft() {
	l.leaving = slices.DeleteFunc(l.leaving, func(c *conn.Conn) bool {
		s := c.Stats()
		if s.InFlight == 0 {
			l.past = pastStats(l.past, s)
		}
		return s.InFlight == 0
	})
}

// pastStats are the counters of all connections that have ended.
func pastStats(past, ended conn.Stats) conn.Stats {
	s := addStats(past, ended)
	s.Quota, s.Window, s.RDY, s.InFlight, s.Allowance = 0, 0, 0, 0, 0
	return s
}

// addStats adds the counters of past connections to the state of a later one. A test sees to it
// that none is forgotten.
func addStats(past, s conn.Stats) conn.Stats {
	s.Published += past.Published
	s.Received += past.Received
	s.Bytes += past.Bytes
	s.TooLarge += past.TooLarge
	s.Finished += past.Finished
	s.Requeued += past.Requeued
	s.Touched += past.Touched
	s.Expired += past.Expired
	s.Lost += past.Lost
	s.Refused += past.Refused
	s.Drifted += past.Drifted
	s.Probed += past.Probed
	s.Writes += past.Writes
	s.BytesWritten += past.BytesWritten
	return s
}
