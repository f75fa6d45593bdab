package nsqxtest

import (
	"context"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/override"
)

// Option is [Option] for one server.
func (s *Server) Option() nsqx.Option { return Option(s) }

// Option makes a service connect to the servers. It may stand anywhere among the options of the
// service. It replaces configured and discovered addresses, and the dialer, TLS and compression of
// [nsqx.WithConn]; everything else stays as in production. The service still reports errors in the
// options that Option replaces. [LookupdOption] is for a service whose discovery is tested, too.
//
// A service with an AuthSecret is asked for it, so a test covers AUTH; in memory the secret may be
// sent in clear text.
//
// One Option may be given to any number of consumers, but only once to each.
func Option(servers ...*Server) nsqx.Option {
	servers = slices.Clone(servers)
	all := func() []*Server { return servers }
	nodes := &override.Nodes{Client: httpTo(all, nil)}
	for _, s := range servers {
		nodes.Addrs = append(nodes.Addrs, s.Addr())
	}
	nodes.Edit = dialInMemory(all)
	return nsqx.WithDiscoverer(nodes)
}

// Network makes a service dial the servers instead of a network, by the addresses that they have at
// the time of the dial. It replaces the dialer, TLS and compression of [nsqx.WithConn]. Unlike
// [Option] it keeps the addresses that the service names or discovers: it is for tests of a
// [nsqx.Discoverer]. An address that no running server has refuses connections. See also
// [Lookupd.Option].
//
// Only one of Network, Option and LookupdOption may be given to a service.
func Network(servers ...*Server) nsqx.Option {
	servers = slices.Clone(servers)
	all := func() []*Server { return servers }
	return nsqx.WithDiscoverer(&override.Nodes{Keep: true, Client: httpTo(all, nil), Edit: dialInMemory(all)})
}

// dialInMemory returns a function that lets a service dial servers.
func dialInMemory(servers func() []*Server) func(*conn.Config) {
	return func(cfg *conn.Config) { // called once per service
		g := newGroup()
		auth := cfg.AuthSecret != nil
		cfg.TLS, cfg.AllowPlaintextAuth = nil, true
		cfg.Compression, cfg.DeflateLevel, cfg.CompressionOptional = conn.NoCompression, 0, false
		cfg.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
			for _, s := range servers() {
				if s.Addr() == addr {
					return s.dial(ctx, g, auth)
				}
			}
			return nil, refused(addr)
		}
	}
}

// refused is the error of a dial to an address where nobody listens.
func refused(addr string) error {
	return &net.OpError{Op: "dial", Net: "pipe", Addr: serverAddr(addr), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// group holds the RDY counts of one consumer over all its servers. The group of a client without
// an Option is nil.
//
// Its mutex is locked while a server's mutex is held, never the other way round.
type group struct {
	mu       sync.Mutex
	rdy      map[*ServerConn]int
	exceeded bool // the sum is above the limit
	episode  int  // how often the sum has gone above the limit
}

func newGroup() *group { return &group{rdy: make(map[*ServerConn]int)} }

const (
	// silentFor is how long a connection has brought nothing when the client may probe it: RDY is then
	// above the limit for a moment at a time, to see whether the server counts wrongly.
	silentFor = 1900 * time.Millisecond
	// probeGrace is how long that may be.
	probeGrace = 10 * time.Millisecond
)

// setRDY records the RDY count of a connection, less what the server counts too many, and checks the
// sum. The caller holds c.server.mu.
func (g *group) setRDY(c *ServerConn, n int) {
	limit := c.server.cfg.maxInFlight
	if g == nil || limit == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rdy[c] = n - c.drift; n <= c.drift {
		delete(g.rdy, c)
	}
	sum := g.sum()
	if sum <= limit {
		g.exceeded = false
		return
	}
	if g.exceeded {
		return
	}
	g.exceeded = true
	g.episode++
	episode, grace := g.episode, c.server.cfg.grace
	if time.Since(c.delivered) >= silentFor {
		grace = max(grace, probeGrace)
	}
	c.server.after(grace, func() { g.reportExceeded(c, episode, limit) })
}

// reportExceeded reports a sum that has stayed above the limit for the grace period.
func (g *group) reportExceeded(c *ServerConn, episode, limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.exceeded && g.episode == episode {
		c.violate(CheckMaxInFlight, "the consumer's RDY counts add up to %d for %v, want at most %d", g.sum(), c.server.cfg.grace, limit)
	}
}

func (g *group) sum() (sum int) {
	for _, n := range g.rdy {
		sum += n
	}
	return sum
}
