package redial

import "time"

// leave takes a line off the list that is not wanted, and of which nothing is left. An unconfirmed
// connection must be reported. The caller holds set.mu.
func (l *line) leave() {
	if !l.wanted && !l.running && len(l.replaced) == 0 && len(l.unconfirmed) == 0 {
		l.set.remove(l)
	}
}

// Remove tells that nobody wants an address any more. A connection to it gets CLS, and is closed in good
// order when its messages are answered. Connect may add the address again meanwhile.
func (s *Set) Remove(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.find(addr)
	if l == nil || s.closed {
		return
	}
	l.removed, l.unnamed, l.lastErr = true, time.Time{}, nil
	if l.conn == nil {
		l.drop()
		return
	}
	c := l.conn
	c.StopDelivery()
	l.replaced = append(l.replaced, c) // the goroutine that serves it ends with it
	l.wanted, l.running, l.conn = false, false, nil
	s.running.Go(func() { closeInOrder(c) })
	s.announce()
}
