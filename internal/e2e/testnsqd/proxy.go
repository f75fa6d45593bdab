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

// Direction is a direction through a proxy.
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

// Tap sees bytes on their way and returns the bytes to forward, none to swallow them. The
// boundaries of b mean nothing. Calls for one connection and direction are sequential, others
// concurrent. A Tap must not keep b.
type Tap func(d Direction, b []byte) []byte

// Proxy forwards connections to one server and injects faults. Without faults it forwards a
// half-close, and a reset at one end ends the other, though not always with a reset. Faults apply
// to current and future connections. Methods are safe for concurrent use, except Refuse and Allow.
type Proxy struct {
	tb      testing.TB
	backend string
	addr    string
	running sync.WaitGroup // one for each link

	mu          sync.Mutex
	listener    net.Listener  // nil while refusing
	stopped     chan struct{} // closed when listener's accept loop has ended
	links       map[*link]struct{}
	accepted    int
	impairments [2]impairment // by Direction
}

// impairment is the faults of one direction.
type impairment struct {
	frozen chan struct{} // closed by Thaw; nil while not frozen
	delay  time.Duration
	tap    Tap // nil for none
	limit  int // bytes until a connection is cut; negative for no limit
	piece  int // bytes a write; 0 for no slicing
}

// StartProxy runs a proxy in front of backend until the test ends.
func StartProxy(tb testing.TB, backend string) *Proxy {
	tb.Helper()
	return StartProxyAt(tb, anyPort, backend)
}

// StartProxyAt is StartProxy with a given address.
func StartProxyAt(tb testing.TB, addr, backend string) *Proxy {
	tb.Helper()
	p := &Proxy{
		tb:          tb,
		backend:     backend,
		addr:        addr,
		links:       make(map[*link]struct{}),
		impairments: [2]impairment{{limit: -1}, {limit: -1}},
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

// Addr returns the address for clients as host:port. It does not change.
func (p *Proxy) Addr() string { return p.addr }

// Accepted returns the number of connections accepted so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Cut ends all connections with FIN: both ends read EOF. Bytes on their way are lost.
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

// Refuse closes the port: clients that dial get "connection refused". Existing connections stay. A
// later Cut or Reset affects every connection accepted before.
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
		// The kernel may have given the port to another socket meanwhile.
		err := p.listen()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.tb.Fatalf("testnsqd: proxy: %v", err)
		}
	}
}

// Freeze stops one direction without a sign to either end: bytes and FIN wait in the proxy and the
// kernel. Bytes being written may still pass.
func (p *Proxy) Freeze(d Direction) {
	p.set(d, func(l *impairment) {
		if l.frozen == nil {
			l.frozen = make(chan struct{})
		}
	})
}

// Thaw ends Freeze and forwards what waited.
func (p *Proxy) Thaw(d Direction) {
	p.set(d, func(l *impairment) {
		if l.frozen != nil {
			close(l.frozen)
			l.frozen = nil
		}
	})
}

// Delay delays all bytes of one direction. It adds to the round trip and does not reduce the
// throughput. 0 ends it.
func (p *Proxy) Delay(d Direction, delay time.Duration) {
	p.set(d, func(l *impairment) { l.delay = delay })
}

// Tap sets the tap of both directions; nil removes it.
func (p *Proxy) Tap(t Tap) {
	p.set(ToServer, func(l *impairment) { l.tap = t })
	p.set(ToClient, func(l *impairment) { l.tap = t })
}

// CutAfter cuts each connection, like Cut, once n bytes have passed in direction d, counted from
// its start and behind the tap. A negative n ends it.
func (p *Proxy) CutAfter(d Direction, n int) {
	p.set(d, func(l *impairment) { l.limit = n })
}

// Slice forwards the bytes of direction d in pieces of n, each with its own write. 0 ends it.
func (p *Proxy) Slice(d Direction, n int) {
	p.set(d, func(l *impairment) { l.piece = n })
}

// Heal ends all faults except the tap. Cut connections stay cut.
func (p *Proxy) Heal() {
	p.tb.Helper()
	for _, d := range []Direction{ToServer, ToClient} {
		p.Thaw(d)
		p.set(d, func(l *impairment) { *l = impairment{tap: l.tap, limit: -1} })
	}
	p.mu.Lock()
	refusing := p.listener == nil
	p.mu.Unlock()
	if refusing {
		p.Allow()
	}
}

func (p *Proxy) set(d Direction, change func(*impairment)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.impairments[d])
}

// impairment returns the current faults of d.
func (p *Proxy) impairment(d Direction) impairment {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.impairments[d]
}

func (p *Proxy) current() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.links))
}

// listen opens the port, the same each time.
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

// connect dials the server for a client. If that fails, it resets the client's connection.
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
