package testnsqd

import (
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqio/nsq/nsqlookupd"
)

// Lookupd is an nsqlookupd in this process.
type Lookupd struct {
	tb     testing.TB
	mutate []func(*nsqlookupd.Options)
	tcp    string
	http   string
	front  *Proxy                 // the address for nsqds
	d      *nsqlookupd.NSQLookupd // nil while stopped
	main   chan error             // result of Main

	reachable bool // nsqds can reach its HTTP interface
}

// StartLookupd runs an nsqlookupd until the test ends. mutate may change its options. Start it
// before the nsqds that register with it. Without Reachable they cannot reach its HTTP interface, so
// they do not create the channels that a new topic has on other nsqds, or that are registered.
func StartLookupd(tb testing.TB, mutate ...func(*nsqlookupd.Options)) *Lookupd {
	tb.Helper()
	l := &Lookupd{tb: tb, mutate: mutate, tcp: anyPort, http: anyPort}
	tb.Cleanup(l.Stop)
	if err := l.launch(); err != nil {
		tb.Fatalf("testnsqd: start nsqlookupd: %v", err)
	}
	l.tcp, l.http = l.d.RealTCPAddr().String(), l.d.RealHTTPAddr().String()
	l.front = StartProxy(tb, l.tcp)
	if l.reachable {
		_, port, _ := net.SplitHostPort(l.http)
		StartProxyAt(tb, net.JoinHostPort(reachableHost, port), l.http)
	}
	return l
}

// reachableHost is where a proxy stands for nsqds, on the port of the HTTP interface. It ends the idle
// connections that nsqd would keep.
const reachableHost = "127.0.0.3"

// Reachable is an option for StartLookupd: nsqds can reach its HTTP interface, and so create the
// channels of a new topic before its first message.
func Reachable(o *nsqlookupd.Options) { o.BroadcastAddress = reachableHost }

func (l *Lookupd) launch() error {
	o := nsqlookupd.NewOptions()
	o.Logger = quiet{}
	// Nothing listens there. Else nsqd, after asking for the channels of a new topic, would keep an
	// idle connection and its goroutines for 90 seconds beyond the end of both servers.
	o.BroadcastAddress = "127.0.0.2"
	for _, f := range l.mutate {
		f(o)
	}
	o.TCPAddress, o.HTTPAddress = l.tcp, l.http
	l.reachable = o.BroadcastAddress == reachableHost
	d, err := nsqlookupd.New(o)
	if err != nil {
		runtime.GC() // only finalizers close the listeners of New
		return err
	}
	l.d, l.main = d, make(chan error, 1)
	go func() { l.main <- d.Main() }()
	return await(d.RealTCPAddr())
}

// HTTPAddr returns the address for discovery as host:port. Restarts do not change it.
func (l *Lookupd) HTTPAddr() string { return l.http }

// Register is an option for Start: nsqd registers with this nsqlookupd.
func (l *Lookupd) Register(o *nsqd.Options) {
	o.NSQLookupdTCPAddresses = append(o.NSQLookupdTCPAddresses, l.front.Addr())
}

// Stop stops nsqlookupd and waits for it. It does nothing if nsqlookupd is stopped, and fails the
// test after 15 seconds.
func (l *Lookupd) Stop() {
	l.tb.Helper()
	if l.d == nil {
		return
	}
	if l.front != nil { // nil if launch failed
		// Exit closes, once, the connections that have identified themselves. It would wait forever
		// for an nsqd that has just connected.
		l.front.Refuse()
		l.front.Cut()
	}
	exit(l.tb, "nsqlookupd", l.d.Exit, l.main)
	l.d = nil
}

// Restart stops nsqlookupd, if it runs, and starts it on the same ports. It then knows nothing
// until nsqds ping it, every 15 seconds or after a change: see Kick.
func (l *Lookupd) Restart() {
	l.tb.Helper()
	l.Stop()
	for deadline := time.Now().Add(restartTimeout); ; time.Sleep(pollInterval) {
		err := l.launch()
		if err == nil {
			l.front.Allow()
			return
		}
		if time.Now().After(deadline) {
			l.tb.Fatalf("testnsqd: restart nsqlookupd: %v", err)
		}
	}
}

// Kick makes an nsqd contact its nsqlookupds at once, and so notice a restarted one.
func (s *Server) Kick() {
	s.tb.Helper()
	d, name := s.NSQD(), fmt.Sprintf("kick%d#ephemeral", s.kicks.Add(1))
	d.GetTopic(name)
	if err := d.DeleteExistingTopic(name); err != nil { // the first command finds the old connections closed
		s.tb.Fatalf("testnsqd: kick: %v", err)
	}
}
