package nsqxtest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/pipe"
)

// Server is an nsqd in memory: a correct nsqd v1.3.0 with topics, channels and messages. It uses
// neither network nor disk and knows no other nsqd.
//
// Clients dial any number of connections and send commands. The server answers with frames
// (responses, errors and messages) as nsqd does: it has no script. It checks the commands of its
// clients and fails the test if a client breaks the protocol: see [Check].
//
// A test can inject faults: [Server.On] changes the answer to a command, [Server.Freeze] stops the
// flow of bytes, [Server.Disconnect] and [Server.ResetConns] end connections, [Server.Refuse]
// refuses dials. [Server.Stop], [Server.Kill] and [Server.Start] let it go and come back.
//
// TLS and snappy are not supported. Timeouts and deferrals end at the exact instant; nsqd looks
// for them about ten times a second.
//
// All methods may be called concurrently. In a synctest bubble, create and use the server inside
// the bubble. After synctest.Wait the queries show everything that happens without time passing.
// For everything else, such as a message in the output buffer, wait with [Server.Await] or
// [Received], in a bubble and elsewhere.
type Server struct {
	tb   testing.TB
	cfg  serverConfig
	addr atomic.Pointer[string]

	running sync.WaitGroup // connection loops and timer callbacks

	mu         sync.Mutex
	change     sync.Cond // broadcast after every change that a caller may wait for
	closed     bool
	stopped    bool // by Stop or Kill
	refusing   bool
	noHTTP     bool
	frozen     Direction
	dials      int
	conns      []*ServerConn // in dial order, until the write loop ends
	hooks      map[string]func(*ServerConn, Command) Action
	log        []Command
	topics     map[string]*topic
	lastID     uint64
	violations []Violation
	unreported []Violation
}

// NewServer starts a server. The cleanup of tb closes it: see [Server.Close].
func NewServer(tb testing.TB, opts ...ServerOption) *Server {
	tb.Helper()
	s := &Server{
		tb:     tb,
		cfg:    newServerConfig(opts),
		hooks:  make(map[string]func(*ServerConn, Command) Action),
		topics: make(map[string]*topic),
	}
	s.change.L = &s.mu
	s.addr.Store(&s.cfg.addr)
	tb.Cleanup(s.Close)
	s.join()
	return s
}

// NewServers starts n servers that differ only in their addresses: nsqd-1.test:4150,
// nsqd-2.test:4150 and so on.
func NewServers(tb testing.TB, n int, opts ...ServerOption) []*Server {
	tb.Helper()
	servers := make([]*Server, n)
	for i := range servers {
		addr := WithAddr(fmt.Sprintf("nsqd-%d.test:4150", i+1))
		servers[i] = NewServer(tb, append(slices.Clone(opts), addr)...)
	}
	return servers
}

// Addr returns the address under which clients know the server, as host:port. [Server.Start] may
// change it.
func (s *Server) Addr() string { return *s.addr.Load() }

// DialContext connects to the server and ignores the address. It has the signature of
// [net.Dialer.DialContext].
func (s *Server) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return s.dial(ctx, nil, false)
}

// dial connects a client of group g, which may be nil. If auth is true, the server asks for a
// secret.
func (s *Server) dial(ctx context.Context, g *group, auth bool) (net.Conn, error) {
	s.mu.Lock()
	defer s.unlock()
	s.dials++
	s.change.Broadcast()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.refusing || s.stopped || s.closed {
		return nil, refused(s.Addr())
	}
	client, server := pipe.New()
	c := newServerConn(s, server, g, auth || s.cfg.secret != "")
	s.conns = append(s.conns, c)
	s.running.Go(c.readLoop)
	s.running.Go(c.writeLoop)
	return client, nil
}

type serverAddr string

func (a serverAddr) Network() string { return "pipe" }
func (a serverAddr) String() string  { return string(a) }

// Dials returns how often clients have dialled, including refused dials.
func (s *Server) Dials() int {
	s.mu.Lock()
	defer s.unlock()
	return s.dials
}

// Refuse sets whether the server refuses dials, like a host without an nsqd. Open connections stay
// open: see [Server.Disconnect].
func (s *Server) Refuse(refuse bool) {
	s.mu.Lock()
	defer s.unlock()
	s.refusing = refuse
}

// Conns returns the open connections in dial order.
func (s *Server) Conns() []*ServerConn {
	s.mu.Lock()
	defer s.unlock()
	return slices.DeleteFunc(slices.Clone(s.conns), func(c *ServerConn) bool { return c.gone })
}

// Disconnect closes all connections like an nsqd that is stopped: clients can still read what was
// sent. Messages in flight stay in flight until they time out.
func (s *Server) Disconnect() { s.endAll((*pipe.Conn).Close) }

// ResetConns ends all connections with a TCP reset: what clients have not read is lost.
func (s *Server) ResetConns() {
	s.endAll(func(nc *pipe.Conn) error {
		nc.Reset()
		return nil
	})
}

// endAll ends all connections immediately, frozen or not.
func (s *Server) endAll(end func(*pipe.Conn) error) {
	s.mu.Lock()
	defer s.unlock()
	for _, c := range slices.Clone(s.conns) {
		c.cut(end)
	}
}

// leaveTimeout is how long Close waits for subscribed clients.
const leaveTimeout = 5 * time.Second

// Close stops the server. Subscribed clients first have 5 s to disconnect, since a consumer may
// still be draining; each client that stays is reported as [CheckLeftover]. Close then closes all
// connections. The cleanup of the test calls it; a second call does nothing.
func (s *Server) Close() {
	s.tb.Helper()
	s.wait(leaveTimeout, func() bool { return s.closed || !slices.ContainsFunc(s.conns, (*ServerConn).subscribed) })
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.unregister()
		for _, c := range slices.Clone(s.conns) {
			if c.subscribed() {
				c.violate(CheckLeftover, "still subscribed to %s/%s at the end of the test", c.channel.topic.name, c.channel.name)
			}
			c.cut((*pipe.Conn).Close)
		}
		s.change.Broadcast()
	}
	s.unlock()
	s.running.Wait()
}

// wait calls cond, with s.mu held, until it returns true or d has passed, and returns its last
// result.
func (s *Server) wait(d time.Duration, cond func() bool) bool {
	s.mu.Lock()
	defer s.unlock()
	over := false
	timer := time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		over = true
		s.change.Broadcast()
	})
	defer timer.Stop()
	for !cond() {
		if over {
			return false
		}
		s.change.Wait()
	}
	return true
}

// after calls f after d, with s.mu held, unless the server is closed by then.
func (s *Server) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		s.running.Add(1) // before Close waits, since closed is still false
		defer s.running.Done()
		defer s.unlock()
		f()
	})
}
