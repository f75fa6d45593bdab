// Package redial keeps a set of addresses connected: it dials each one again and again, under a
// jittered exponential backoff, and serves the connection until it ends. Consumers and publishers
// share it.
package redial

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/notify"
)

// Config says how a Set connects, and who is told. All but Conn may be zero.
type Config struct {
	Conn conn.Config
	Sub  *conn.Subscription // nil: the connections publish
	Sink conn.Sink          // nil: nothing is delivered

	// Max bounds the addresses: beyond it those that nobody names and that have no connection are
	// removed, the ones that nobody has named for longest first. 0: no bound.
	Max int

	// Lazy dials an address only when Trying asks for it, once each time, and closes a connection
	// that was idle for 30 to 60 s.
	Lazy bool

	Post     func(kind notify.Kind, addr string, err error, retry time.Duration) // tells of connections
	Attached func()                                                              // a connection was added to Conns
	Detached func(*conn.Conn)                                                    // it was removed again
	Overdue  func(*conn.Conn)                                                    // its answer to a publish is overdue
	Tried    func()                                                              // a dial has failed, or a connection has ended
	Back     func()                                                              // an nsqd is connected that could not be reached, so it may be another; called like Removed
	Removed  func(addr string)                                                   // an address was removed; called with a lock held, so it must not call the Set
}

// Set is a set of addresses. Its methods are safe for concurrent use and never wait, except Wait.
type Set struct {
	cfg       Config
	connected atomic.Pointer[[]*conn.Conn]
	running   sync.WaitGroup // of lines

	mu      sync.Mutex
	ctx     context.Context // nil before Start
	closed  bool
	lines   []*line
	changed chan struct{} // closed, and replaced, when a line has changed
}

// New returns an empty set.
func New(cfg Config) *Set {
	if cfg.Sink == nil {
		cfg.Sink = noSink{}
	}
	s := &Set{cfg: cfg, changed: make(chan struct{})}
	s.connected.Store(new([]*conn.Conn))
	return s
}

// Start starts to dial. The contexts of messages inherit the values of ctx; its end ends dialling,
// not the connections.
func (s *Set) Start(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx = ctx
	if s.cfg.Lazy {
		return
	}
	for _, l := range s.lines {
		l.start()
	}
}

// Connect adds an address. One that Forget was called for is dialled at once.
func (s *Set) Connect(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	l := s.find(addr)
	switch {
	case l == nil:
		l = newLine(s, addr)
		s.lines = append(s.lines, l)
	case !l.unnamed.IsZero() && l.conn == nil:
		l.dialNow()
	}
	l.wanted, l.removed, l.unnamed = true, false, time.Time{}
	s.trim()
	if !s.cfg.Lazy {
		l.start()
	}
}

// Redial dials an address at once if it is not connected.
func (s *Set) Redial(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.find(addr); l != nil && l.conn == nil {
		l.dialNow()
	}
}

// Close attaches no further connection, and returns those that there are, those that Renew has
// replaced and that have not ended included. Their owner ends them, and dialling ends with the ctx of
// Start.
func (s *Set) Close() []*conn.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.announce()
	conns := slices.Clone(s.Conns())
	for _, l := range s.lines {
		conns = append(conns, l.replaced...)
	}
	return conns
}

// Wait waits until all connections have ended, and dialling has. It is called after Close.
func (s *Set) Wait() { s.running.Wait() }

// Conns returns the connections of this moment. The slice must not be changed.
func (s *Set) Conns() []*conn.Conn { return *s.connected.Load() }

// Changed returns a channel that is closed at the next change: a connection came or went, a dial
// failed, or Close was called.
func (s *Set) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// find returns the line of an address; nil if there is none. The caller holds mu.
func (s *Set) find(addr string) *line {
	i := slices.IndexFunc(s.lines, func(l *line) bool { return l.addr == addr })
	if i < 0 {
		return nil
	}
	return s.lines[i]
}

// remove takes a line off the list. The caller holds mu.
func (s *Set) remove(l *line) {
	s.lines = slices.DeleteFunc(s.lines, func(x *line) bool { return x == l })
	if s.cfg.Removed != nil {
		s.cfg.Removed(l.addr)
	}
}

// announce publishes the connections, and tells who waits. The caller holds mu.
func (s *Set) announce() {
	var conns []*conn.Conn
	for _, l := range s.lines {
		if l.conn != nil {
			conns = append(conns, l.conn)
		}
	}
	s.connected.Store(&conns)
	close(s.changed)
	s.changed = make(chan struct{})
}

// noSink takes what a publishing connection never delivers.
type noSink struct{}

func (noSink) Deliver(*conn.Conn, []handler.Delivery) {}
func (noSink) Refused(*conn.Conn, error)              {}
func (noSink) Yielded(*conn.Conn)                     {}
