// Package testnsqd runs the real nsqd and nsqlookupd inside a test or a benchmark, with
// certificates, an auth server, and a TCP proxy that injects network faults.
//
// A cleanup of the test stops whatever a function here starts, last started first: start a proxy
// after its nsqd, and a client after both. All servers listen on loopback, on ports that the kernel
// chooses.
package testnsqd

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
)

const (
	// exitTimeout exceeds any client's handshake deadline: nsqd waits for every accepted
	// connection.
	exitTimeout = 15 * time.Second

	startTimeout = 10 * time.Second

	// restartTimeout bounds the wait for a port that was in use.
	restartTimeout = 5 * time.Second

	quiesceTimeout = 15 * time.Second

	anyPort = "127.0.0.1:0"
)

// lastID makes node ids distinct within the process: nsqds with the same node id issue the same
// message ids.
var lastID atomic.Int64

// Server is an nsqd in this process, with its own directory. Its methods are safe for concurrent
// use, except those that start and stop it.
type Server struct {
	tb      testing.TB
	mutate  []func(*nsqd.Options)
	id      int64
	dir     string
	tcp     string
	http    string
	running atomic.Pointer[instance] // nil while stopped
	kicks   atomic.Int64
}

// instance is one run of an nsqd, from New to Exit.
type instance struct {
	nsqd *nsqd.NSQD
	main chan error // result of Main
}

// Start runs an nsqd until the test ends. Unlike a default nsqd it logs nothing, scans its queues
// every 10 ms, flushes after 5 ms, and keeps 100 messages a queue in memory. mutate may change any
// option. It is called again, with new options, at every Restart.
func Start(tb testing.TB, mutate ...func(*nsqd.Options)) *Server {
	tb.Helper()
	return StartAt(tb, anyPort, mutate...)
}

// StartAt is Start with a given address for clients: a host:port, whose port may be 0, or the path
// of a unix socket.
func StartAt(tb testing.TB, tcp string, mutate ...func(*nsqd.Options)) *Server {
	tb.Helper()
	s := &Server{
		tb:     tb,
		mutate: mutate,
		id:     lastID.Add(1) % 1024,
		dir:    tb.TempDir(),
		tcp:    tcp,
		http:   anyPort,
	}
	tb.Cleanup(s.Stop)
	if err := s.launch(); err != nil {
		tb.Fatalf("testnsqd: start: %v", err)
	}
	s.noteAddrs()
	return s
}

func (s *Server) noteAddrs() {
	s.tcp, s.http = s.NSQD().RealTCPAddr().String(), s.NSQD().RealHTTPAddr().String()
}

// Addr returns the address for clients, a host:port or a path. Restarts do not change it.
func (s *Server) Addr() string { return s.tcp }

// HTTPAddr returns the address of the HTTP interface as host:port. Restarts do not change it.
func (s *Server) HTTPAddr() string { return s.http }

// NSQD returns the running nsqd. A test must not keep it over a Restart. NSQD fails the test while
// nsqd is stopped.
func (s *Server) NSQD() *nsqd.NSQD {
	s.tb.Helper()
	in := s.running.Load()
	if in == nil {
		s.tb.Fatalf("testnsqd: nsqd at %s is stopped", s.tcp)
	}
	return in.nsqd
}

// Stop stops nsqd and waits for it. It does nothing if nsqd is stopped, and fails the test after 15
// seconds.
//
// nsqd itself may lose messages when it is stopped under load: see QuiescedRestart.
func (s *Server) Stop() {
	s.tb.Helper()
	in := s.running.Swap(nil)
	if in == nil {
		return
	}
	exit(s.tb, "nsqd at "+s.tcp, in.nsqd.Exit, in.main)
}

// Restart stops nsqd, if it runs, and starts it on the same ports and directory.
func (s *Server) Restart() {
	s.tb.Helper()
	for deadline := time.Now().Add(restartTimeout); ; time.Sleep(pollInterval) {
		s.Stop()
		// Meanwhile the kernel may have given the port to an outgoing connection of another test.
		err := s.launch()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("testnsqd: restart at %s: %v", s.tcp, err)
		}
	}
}

// Move stops nsqd, if it runs, and starts it on the same directory and other ports.
func (s *Server) Move() {
	s.tb.Helper()
	s.Stop()
	s.tcp, s.http = anyPort, anyPort
	if err := s.launch(); err != nil {
		s.tb.Fatalf("testnsqd: move: %v", err)
	}
	s.noteAddrs()
}

// Quiesce waits until nsqd has no client and no message pump. It fails the test after 15 seconds.
func (s *Server) Quiesce() {
	s.tb.Helper()
	Eventually(s.tb, quiesceTimeout, func() bool { return s.Clients() == 0 && !s.pumping() },
		"clients of nsqd at %s to leave", s.tcp)
}

// QuiescedRestart restarts nsqd without the loss that a stop under load may cause. It refuses and
// cuts the connections of proxies, which must carry all clients, waits until nsqd has none,
// restarts it, and allows connections again.
func (s *Server) QuiescedRestart(proxies ...*Proxy) {
	s.tb.Helper()
	for _, p := range proxies {
		p.Refuse()
		p.Cut()
	}
	s.Quiesce()
	s.Restart()
	for _, p := range proxies {
		p.Allow()
	}
}

// options returns new options for each nsqd, because New writes to them.
func (s *Server) options() *nsqd.Options {
	o := nsqd.NewOptions()
	o.Logger, o.LogLevel = quiet{}, nsqd.LOG_ERROR
	o.ID = s.id
	o.DataPath = s.dir
	o.BroadcastAddress = "127.0.0.1"
	o.HTTPSAddress = "127.0.0.1:0"
	o.MemQueueSize = 100
	o.QueueScanInterval = 10 * time.Millisecond
	o.QueueScanRefreshInterval = 50 * time.Millisecond
	o.OutputBufferTimeout = 5 * time.Millisecond
	for _, f := range s.mutate {
		f(o)
	}
	o.TCPAddress, o.HTTPAddress = s.tcp, s.http
	return o
}

// launch starts an nsqd with its messages on disk.
func (s *Server) launch() error {
	d, err := nsqd.New(s.options())
	if err != nil {
		// If New fails, only finalizers release its directory lock and its listeners.
		runtime.GC()
		return err
	}
	// Without both, the channels are lost at the next restart.
	if err = d.LoadMetadata(); err == nil {
		err = d.PersistMetadata()
	}
	if err != nil {
		d.Exit()
		return fmt.Errorf("metadata: %w", err)
	}
	in := &instance{nsqd: d, main: make(chan error, 1)}
	go s.mark(func() { in.main <- d.Main() })
	s.running.Store(in)
	return await(d.RealTCPAddr())
}

// await returns once a server accepts connections: its Exit must not overtake its Main. The server
// answers a wrong magic with an error and closes.
func await(addr net.Addr) error {
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(startTimeout))
	if _, err := c.Write([]byte("PING")); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}

// exit ends a server and waits for it up to exitTimeout.
func exit(tb testing.TB, name string, exit func(), main <-chan error) {
	tb.Helper()
	ended := make(chan error, 1)
	go func() {
		exit()
		ended <- <-main
	}()
	select {
	case err := <-ended:
		if err != nil {
			tb.Errorf("testnsqd: %s ended with: %v", name, err)
		}
	case <-time.After(exitTimeout):
		tb.Fatalf("testnsqd: %s did not exit within %v: most likely a connection has not sent its "+
			"4 magic bytes; close clients and proxies before their server", name, exitTimeout)
	}
}

// quiet discards a server's log.
type quiet struct{}

func (quiet) Output(int, string) error { return nil }
