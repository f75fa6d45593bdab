package testnsqd

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// Direction is one of the two ways through a proxy.
type Direction int

// The two directions.
const (
	ToServer Direction = iota
	ToClient
)

func (d Direction) String() string {
	if d == ToServer {
		return "to server"
	}
	return "to client"
}

// Tap sees bytes on their way and returns what is to be passed on in their
// place: the same bytes, others, or none to swallow them. Where a piece begins
// and ends means nothing. Within one connection and direction it is called in
// order, else concurrently; it must not keep b.
type Tap func(d Direction, b []byte) []byte

// Proxy stands between clients and one server and breaks what passes. By
// itself it passes on a half-close, and a reset at one end ends the other, if
// not always with a reset. Faults that are set hold for
// the connections there are and for those to come. Methods may be called from
// several goroutines, Refuse and Allow only from one at a time.
type Proxy struct {
	tb      testing.TB
	backend string
	addr    string
	running sync.WaitGroup // one for each link

	mu       sync.Mutex
	listener net.Listener  // nil while refusing
	stopped  chan struct{} // closed when the accept loop of listener has ended
	links    map[*link]struct{}
	accepted int
	lanes    [2]lane // by Direction
}

// lane is what is wrong with one direction.
type lane struct {
	frozen chan struct{} // closed by Thaw; nil while bytes flow
	delay  time.Duration
	tap    Tap // nil for none
	limit  int // bytes a connection may pass before it is cut; negative for no limit
	piece  int // bytes a write; 0 for what there is
}

// StartProxy runs a proxy in front of backend until the test ends.
func StartProxy(tb testing.TB, backend string) *Proxy {
	tb.Helper()
	return StartProxyAt(tb, anyPort, backend)
}

// StartProxyAt is StartProxy with the address given.
func StartProxyAt(tb testing.TB, addr, backend string) *Proxy {
	tb.Helper()
	p := &Proxy{
		tb:      tb,
		backend: backend,
		addr:    addr,
		links:   make(map[*link]struct{}),
		lanes:   [2]lane{{limit: -1}, {limit: -1}},
	}
	if err := p.listen(); err != nil {
		tb.Fatalf("testnsqd: start proxy: %v", err)
	}
	p.addr = p.listener.Addr().String()
	tb.Cleanup(func() {
		p.Refuse()
		p.Reset()
		p.running.Wait()
	})
	return p
}

// Addr is the address for clients, as host:port. It stays the same.
func (p *Proxy) Addr() string { return p.addr }

// Accepted counts the connections that clients have made so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Cut ends all connections in good order: both ends read EOF. Bytes on their
// way are lost.
func (p *Proxy) Cut() {
	for _, l := range p.current() {
		l.cut()
	}
}

// Reset ends all connections with RST.
func (p *Proxy) Reset() {
	for _, l := range p.current() {
		l.reset()
	}
}

// Refuse closes the port: clients that dial get "connection refused". The
// connections there are go on; every connection that a client was given before
// is known to a Cut or Reset after it.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	listener, stopped := p.listener, p.stopped
	p.listener = nil
	p.mu.Unlock()
	if listener != nil {
		listener.Close()
		<-stopped
	}
}

// Allow ends Refuse.
func (p *Proxy) Allow() {
	p.tb.Helper()
	for deadline := time.Now().Add(restartTimeout); ; time.Sleep(pollInterval) {
		// The kernel may have lent the port to somebody else meanwhile.
		err := p.listen()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.tb.Fatalf("testnsqd: proxy: %v", err)
		}
	}
}

// Freeze stops one direction, without any sign of it to either end: bytes, and
// the end of them, wait in the proxy and the kernel. What is just being
// written may still pass.
func (p *Proxy) Freeze(d Direction) {
	p.set(d, func(l *lane) {
		if l.frozen == nil {
			l.frozen = make(chan struct{})
		}
	})
}

// Thaw ends Freeze. What waited is passed on.
func (p *Proxy) Thaw(d Direction) {
	p.set(d, func(l *lane) {
		if l.frozen != nil {
			close(l.frozen)
			l.frozen = nil
		}
	})
}

// Delay lets all bytes of one direction take that long through the proxy. It
// adds to the round trip and takes nothing from the throughput. 0 ends it.
func (p *Proxy) Delay(d Direction, delay time.Duration) {
	p.set(d, func(l *lane) { l.delay = delay })
}

// Tap lets t see, and change, what passes in both directions. Nil ends it.
func (p *Proxy) Tap(t Tap) {
	p.set(ToServer, func(l *lane) { l.tap = t })
	p.set(ToClient, func(l *lane) { l.tap = t })
}

// CutAfter cuts each connection, as Cut does, as soon as n bytes, counted
// from its start and behind the tap, have passed in direction d. A negative n
// ends it.
func (p *Proxy) CutAfter(d Direction, n int) {
	p.set(d, func(l *lane) { l.limit = n })
}

// Slice passes the bytes of direction d on in pieces of n, each with a write of
// its own. 0 ends it.
func (p *Proxy) Slice(d Direction, n int) {
	p.set(d, func(l *lane) { l.piece = n })
}

// Heal ends every fault that is set. A tap stays, and what was cut stays cut.
func (p *Proxy) Heal() {
	p.tb.Helper()
	for _, d := range []Direction{ToServer, ToClient} {
		p.Thaw(d)
		p.set(d, func(l *lane) { *l = lane{tap: l.tap, limit: -1} })
	}
	p.mu.Lock()
	refusing := p.listener == nil
	p.mu.Unlock()
	if refusing {
		p.Allow()
	}
}

func (p *Proxy) set(d Direction, change func(*lane)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.lanes[d])
}

// lane is a copy of what is wrong with d now.
func (p *Proxy) lane(d Direction) lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lanes[d]
}

func (p *Proxy) current() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.links))
}

// listen opens the port, and the same port each time.
func (p *Proxy) listen() error {
	listener, err := net.Listen("tcp", p.addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	stopped := make(chan struct{})
	p.mu.Lock()
	p.listener, p.stopped = listener, stopped
	p.mu.Unlock()
	go func() {
		defer close(stopped)
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.connect(client.(*net.TCPConn))
		}
	}()
	return nil
}

// connect gives a client its own connection to the server. Where there is no
// server, the client's is reset.
func (p *Proxy) connect(client *net.TCPConn) {
	l := &link{proxy: p, client: client, severed: make(chan struct{})}
	server, err := net.DialTimeout("tcp", p.backend, restartTimeout)
	p.mu.Lock()
	p.accepted++
	if err == nil {
		l.server = server.(*net.TCPConn)
		p.links[l] = struct{}{}
	}
	p.mu.Unlock()
	if err != nil {
		abort(client)
		return
	}
	p.running.Go(func() {
		l.run()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	})
}
