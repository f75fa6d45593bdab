package nsqx

import "github.com/nsqx/nsqx/conn"

// addLink adds a link to the list, and starts it if the consumer runs. The
// caller holds e.mu, or nobody knows e yet.
func (e *engine) addLink(addr string) {
	l := &link{e: e, addr: addr, anew: make(chan struct{}, 1), wanted: true}
	e.links = append(e.links, l)
	e.publishing.connect(addr)
	if ctx := e.ctx; ctx != nil {
		e.linked.Go(func() { l.run(ctx) })
	}
}

// findLink returns the link of an address; nil if there is none. The caller holds
// e.mu.
func (e *engine) findLink(addr string) *link {
	for _, l := range e.links {
		if l.addr == addr {
			return l
		}
	}
	return nil
}

// connect keeps an address connected from now on.
func (e *engine) connect(addr string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch l := e.findLink(addr); {
	case e.draining:
	case l == nil:
		e.addLink(addr)
	default: // it was forgotten, and its connection has not ended yet
		l.wanted = true
		e.publishing.connect(addr)
	}
}

// redial dials an address at once if it is not connected.
func (e *engine) redial(addr string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.findLink(addr); l != nil && l.conn == nil {
		l.hurry()
	}
}

// forget dials an address no more. If it is connected, it stays so.
func (e *engine) forget(addr string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.findLink(addr); l != nil {
		l.wanted = false
		l.hurry()
		e.publishing.forget(addr)
	}
}

// hurry ends the wait before the next dial.
func (l *link) hurry() {
	select {
	case l.anew <- struct{}{}:
	default:
	}
}

// connections returns those that are subscribed.
func (e *engine) connections() []*conn.Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.conns()
}

// conns is connections for a caller who holds e.mu.
func (e *engine) conns() []*conn.Conn {
	var conns []*conn.Conn
	for _, l := range e.links {
		if l.conn != nil {
			conns = append(conns, l.conn)
		}
	}
	return conns
}

// polled is told of every poll of a source of nsqds: see finder.
func (e *engine) polled(ev event) {
	ev.Topic, ev.Channel = e.cfg.sub.Topic, e.cfg.sub.Channel
	e.events.post(eventLookup, ev)
	e.checkReady()
}
