package fake

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/nsqx/nsqx/internal/pipe"
)

// Network makes in-memory connections and runs a script at the server's end of each. Its methods
// may be called concurrently.
type Network struct {
	scripts *scripts

	mu    sync.Mutex
	dials int
	err   error // if not nil, dials fail with it
}

// NewNetwork returns a Network that runs script(p) in a new goroutine for each connection, and
// closes p when script returns. The cleanup of tb closes the open connections and waits for the
// scripts: a script in [Peer.Expect] then fails the test, a script in [Peer.Next] or
// [Peer.HalfClosed] does not.
//
// In a synctest bubble pass the tb of the bubble, whose cleanup runs inside. With another tb, call
// Wait before the bubble ends.
func NewNetwork(tb testing.TB, script func(p *Peer)) *Network {
	n := &Network{scripts: newScripts(tb, script)}
	tb.Cleanup(n.scripts.stop)
	return n
}

// DialContext has the signature of [net.Dialer.DialContext] and accepts any address. The addresses
// of the connection itself are those of a pipe.
func (n *Network) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.dials++
	number, err := n.dials, n.err
	n.mu.Unlock()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	client, server := pipe.New()
	p := NewPeer(n.scripts.tb, server)
	p.Client, p.Addr, p.N = client, addr, number
	if !n.scripts.start(p) {
		return nil, net.ErrClosed
	}
	return client, nil
}

// Dials returns how often clients have dialled, including refused dials.
func (n *Network) Dials() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

// Refuse makes dials fail with err; nil accepts dials again.
func (n *Network) Refuse(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

// Wait waits until no script runs. It closes nothing; clients or scripts must do that.
func (n *Network) Wait() { n.scripts.wait() }

// Listen is NewNetwork over loopback TCP, for tests that need file descriptors or the kernel. It
// returns its address and accepts connections until the cleanup of tb.
func Listen(tb testing.TB, script func(p *Peer)) (addr string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("fake: %v", err)
	}
	s := newScripts(tb, script)
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for number := 1; ; number++ {
			nc, err := l.Accept()
			if err != nil {
				return // the cleanup closed l
			}
			p := NewPeer(tb, nc)
			p.Addr, p.N = l.Addr().String(), number
			s.start(p)
		}
	}()
	tb.Cleanup(func() {
		_ = l.Close()
		<-accepting
		s.stop()
	})
	return l.Addr().String()
}

// scripts owns the goroutines of the scripts. It counts them under a condition instead of a
// WaitGroup, since clients may dial during wait.
type scripts struct {
	tb     testing.TB
	script func(*Peer)

	mu      sync.Mutex
	ended   sync.Cond
	running map[*Peer]struct{}
	stopped bool
}

func newScripts(tb testing.TB, script func(*Peer)) *scripts {
	s := &scripts{tb: tb, script: script, running: map[*Peer]struct{}{}}
	s.ended.L = &s.mu
	return s
}

// start runs the script for p. After stop it closes p instead and returns false.
func (s *scripts) start(p *Peer) bool {
	s.mu.Lock()
	stopped := s.stopped
	if !stopped {
		s.running[p] = struct{}{}
	}
	s.mu.Unlock()
	if stopped {
		p.Close()
		return false
	}
	go func() {
		defer s.end(p) // also if the script calls tb.FailNow
		s.script(p)
	}()
	return true
}

func (s *scripts) end(p *Peer) {
	p.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, p)
	s.ended.Broadcast()
}

func (s *scripts) wait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.running) > 0 {
		s.ended.Wait()
	}
}

func (s *scripts) stop() {
	s.mu.Lock()
	s.stopped = true
	open := slices.Collect(maps.Keys(s.running))
	s.mu.Unlock()
	for _, p := range open {
		p.Close()
	}
	s.wait()
}
