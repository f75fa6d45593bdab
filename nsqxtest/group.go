package nsqxtest

import (
	"context"
	"net"
	"sync"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/override"
)

// Option is [Option] for one server.
func (s *Server) Option() nsqx.Option { return Option(s) }

// Option makes a service connect to the servers, whatever its other options are, and wherever it stands among them: it
// replaces the addresses that they name or discover, and the dialler, TLS and compression of [nsqx.WithConn]. All else
// stays as it is in production, and faults of what is replaced are still reported.
//
// A service that has an AuthSecret is asked for it, so that this is tested too; in memory it may go in clear.
//
// One Option may be given to any number of consumers, but at most one to each.
func Option(servers ...*Server) nsqx.Option {
	byAddr := make(map[string]*Server)
	var nodes override.Nodes
	for _, s := range servers {
		byAddr[s.Addr()] = s
		nodes.Addrs = append(nodes.Addrs, s.Addr())
	}
	nodes.Edit = func(cfg *conn.Config) { // called once for each consumer
		g := newGroup()
		auth := cfg.AuthSecret != nil
		cfg.TLS, cfg.AllowPlaintextAuth = nil, true
		cfg.Compression, cfg.DeflateLevel, cfg.CompressionOptional = conn.NoCompression, 0, false
		cfg.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
			s := byAddr[addr]
			if s == nil {
				return nil, &net.OpError{Op: "dial", Net: "pipe", Err: &net.AddrError{Err: "no server of this nsqxtest.Option", Addr: addr}}
			}
			return s.dial(ctx, g, auth)
		}
	}
	return nsqx.WithOverride(nodes)
}

// group is a consumer's connections to all its servers. A nil group is of a client that is on its own.
//
// Its mutex is taken with that of a server held, never the other way round.
type group struct {
	mu    sync.Mutex
	rdy   map[*ServerConn]int
	over  bool // the sum is above the limit
	since int  // counts the times that it went over
}

func newGroup() *group { return &group{rdy: make(map[*ServerConn]int)} }

// setRDY notes the RDY of a connection, and checks the sum. The caller holds c.server.mu.
func (g *group) setRDY(c *ServerConn, n int) {
	limit := c.server.cfg.maxInFlight
	if g == nil || limit == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rdy[c] = n; n == 0 {
		delete(g.rdy, c)
	}
	sum := g.sum()
	if sum <= limit {
		g.over = false
		return
	}
	if g.over {
		return
	}
	g.over = true
	g.since++
	since := g.since
	c.server.after(c.server.cfg.grace, func() { g.stillOver(c, since, limit) })
}

// stillOver reports a sum that has not come down within the grace.
func (g *group) stillOver(c *ServerConn, since, limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over && g.since == since {
		c.violate(CheckMaxInFlight, "the consumer's RDYs add up to %d for %v, want at most %d", g.sum(), c.server.cfg.grace, limit)
	}
}

func (g *group) sum() (sum int) {
	for _, n := range g.rdy {
		sum += n
	}
	return sum
}
