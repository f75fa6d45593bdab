package nsqxtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/pipe"
)

// Server is an nsqd in memory: it keeps topics, channels and messages as nsqd v1.3.0 does, and serves any number of
// connections. Nothing of it touches the network or the disk, and it has no nsqd beside it that it would talk to.
//
// It watches its clients: see [Check]. It can be told to misbehave: see [Server.On], [Server.Freeze], [Server.Disconnect],
// [Server.Refuse].
//
// TLS and snappy are not offered. What nsqd does about ten times a second (timeouts, deferrals) happens at the exact
// instant here.
//
// All methods may be called concurrently. In a synctest bubble make it, and use it, inside. After synctest.Wait its queries
// show all that happens without time passing; what takes time, such as a message that is held back in the output buffer,
// is waited for with [Server.Await] or [Received], in a bubble and elsewhere.
type Server struct {
	tb  testing.TB
	cfg serverConfig

	running sync.WaitGroup // loops of connections, callbacks of timers

	mu         sync.Mutex
	change     sync.Cond // broadcast whenever what somebody may wait for has changed
	closed     bool
	refusing   bool
	frozen     Direction
	dials      int
	conns      []*ServerConn // in the order of their dials, until their ends are written
	hooks      map[string]func(*ServerConn, Command) Action
	log        []Command
	topics     map[string]*topic
	lastID     uint64
	violations []Violation
	unreported []Violation
}

// NewServer starts a server. tb's cleanup closes it: see [Server.Close].
func NewServer(tb testing.TB, opts ...ServerOption) *Server {
	tb.Helper()
	s := &Server{
		tb:     tb,
		cfg:    newServerConfig(opts),
		hooks:  make(map[string]func(*ServerConn, Command) Action),
		topics: make(map[string]*topic),
	}
	s.change.L = &s.mu
	tb.Cleanup(s.Close)
	return s
}

// NewServers starts n servers that differ in their addresses only: nsqd-1.test:4150, nsqd-2.test:4150, and so on.
func NewServers(tb testing.TB, n int, opts ...ServerOption) []*Server {
	tb.Helper()
	servers := make([]*Server, n)
	for i := range servers {
		addr := WithAddr(fmt.Sprintf("nsqd-%d.test:4150", i+1))
		servers[i] = NewServer(tb, append(slices.Clone(opts), addr)...)
	}
	return servers
}

// Addr returns the address by which clients know the server, as host:port.
func (s *Server) Addr() string { return s.cfg.addr }

// DialContext connects to the server, whatever the address is. It has the signature of [net.Dialer.DialContext].
func (s *Server) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return s.dial(ctx, nil, false)
}

// dial connects a client that belongs to g, if that is not nil. With auth it is asked for a secret.
func (s *Server) dial(ctx context.Context, g *group, auth bool) (net.Conn, error) {
	s.mu.Lock()
	defer s.unlock()
	s.dials++
	s.change.Broadcast()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.refusing || s.closed {
		refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
		return nil, &net.OpError{Op: "dial", Net: "pipe", Addr: serverAddr(s.cfg.addr), Err: refused}
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

// Dials returns how often clients have dialled, those that were refused included.
func (s *Server) Dials() int {
	s.mu.Lock()
	defer s.unlock()
	return s.dials
}

// Refuse sets whether dials are refused, as by a host on which no nsqd runs. Connections that stand stay: see
// [Server.Disconnect].
func (s *Server) Refuse(refuse bool) {
	s.mu.Lock()
	defer s.unlock()
	s.refusing = refuse
}

// Conns returns the open connections in the order of their dials.
func (s *Server) Conns() []*ServerConn {
	s.mu.Lock()
	defer s.unlock()
	return slices.DeleteFunc(slices.Clone(s.conns), func(c *ServerConn) bool { return c.gone })
}

// Disconnect closes all connections as an nsqd does that is stopped: what was sent can still be read. Messages in flight
// wait for their timeout.
func (s *Server) Disconnect() { s.endAll((*pipe.Conn).Close) }

// ResetConns ends all connections as a TCP reset does: what clients have not read yet is lost, too.
func (s *Server) ResetConns() {
	s.endAll(func(nc *pipe.Conn) error {
		nc.Reset()
		return nil
	})
}

// endAll ends all connections at once, frozen or not.
func (s *Server) endAll(end func(*pipe.Conn) error) {
	s.mu.Lock()
	defer s.unlock()
	for _, c := range slices.Clone(s.conns) {
		c.cut(end)
	}
}

// leaving is how long Close gives clients that are about to end.
const leaving = 5 * time.Second

// Close ends the server. It first gives clients that are subscribed 5 s to end by themselves, since a consumer whose Run was
// cancelled may be draining, and reports those that do not as errors ([CheckLeftover]). All connections are closed. The
// test's cleanup calls it; a second call does nothing.
func (s *Server) Close() {
	s.tb.Helper()
	s.wait(leaving, func() bool { return s.closed || !slices.ContainsFunc(s.conns, (*ServerConn).subscribed) })
	s.mu.Lock()
	if !s.closed {
		s.closed = true
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

// wait waits until cond, which is called with s.mu held, or until d is over, and returns the last that cond has said.
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

// after calls f in d, with s.mu held, unless the server is closed by then.
func (s *Server) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		s.running.Add(1) // not after Close waits: that comes after closed
		defer s.running.Done()
		defer s.unlock()
		f()
	})
}
