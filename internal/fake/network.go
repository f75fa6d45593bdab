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

// Network hands out connections in memory and runs a script at the other end of each. It may be used concurrently.
type Network struct {
	scripts *scripts

	mu    sync.Mutex
	dials int
	err   error // of all dials, if not nil
}

// NewNetwork returns a Network that runs script(p) in a goroutine of its own for each connection, and closes p when
// script returns. Its cleanup closes what is open and waits for the scripts: one that still expects a command then fails
// the test, one that reads with Next or HalfClosed ends quietly.
//
// In a synctest bubble give it the bubble's tb, whose cleanup runs inside; with another, call Wait before the bubble ends.
func NewNetwork(tb testing.TB, script func(p *Peer)) *Network {
	n := &Network{scripts: newScripts(tb, script)}
	tb.Cleanup(n.scripts.stop)
	return n
}

// DialContext has the signature of [net.Dialer.DialContext]. Any address is there. The connection's own addresses are
// those of a pipe.
func (n *Network) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.dials++
	ordinal, err := n.dials, n.err
	n.mu.Unlock()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	client, server := pipe.New()
	p := NewPeer(n.scripts.tb, server)
	p.Client, p.Addr, p.N = client, addr, ordinal
	if !n.scripts.start(p) {
		return nil, net.ErrClosed
	}
	return client, nil
}

// Dials returns how often DialContext was called, refused dials included.
func (n *Network) Dials() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

// Refuse lets the following dials fail with err; nil ends that.
func (n *Network) Refuse(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

// Wait waits until no script runs. It closes nothing: that is for the client, or the scripts.
func (n *Network) Wait() { n.scripts.wait() }

// Listen is a Network over loopback TCP, for tests that need file descriptors and the kernel's ways. It accepts until
// tb's cleanup, and returns its address.
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
		for ordinal := 1; ; ordinal++ {
			nc, err := l.Accept()
			if err != nil {
				return // closed by the cleanup
			}
			p := NewPeer(tb, nc)
			p.Addr, p.N = l.Addr().String(), ordinal
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

// scripts owns the goroutines. It counts them under a condition rather than in a WaitGroup, since clients redial while
// somebody waits.
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

// start runs the script for p. When all is over it closes p instead and reports false.
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
		defer s.end(p) // also when the script calls tb.FailNow
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
