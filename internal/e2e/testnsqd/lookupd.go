package testnsqd

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqio/nsq/nsqlookupd"
)

// Lookupd is an nsqlookupd that runs in this process.
type Lookupd struct {
	tb     testing.TB
	mutate []func(*nsqlookupd.Options)
	tcp    string
	http   string
	front  *Proxy                 // what nsqds connect to
	d      *nsqlookupd.NSQLookupd // nil while stopped
	main   chan error             // what Main returned
}

// StartLookupd runs an nsqlookupd until the test ends. mutate may change its
// options. Start it before the nsqds that register with it. They find it, but
// its HTTP interface only by HTTPAddr: so they do not make the channels of a
// new topic that other nsqds have.
func StartLookupd(tb testing.TB, mutate ...func(*nsqlookupd.Options)) *Lookupd {
	tb.Helper()
	l := &Lookupd{tb: tb, mutate: mutate, tcp: anyPort, http: anyPort}
	tb.Cleanup(l.Stop)
	if err := l.launch(); err != nil {
		tb.Fatalf("testnsqd: start nsqlookupd: %v", err)
	}
	l.tcp, l.http = l.d.RealTCPAddr().String(), l.d.RealHTTPAddr().String()
	l.front = StartProxy(tb, l.tcp)
	return l
}

func (l *Lookupd) launch() error {
	o := nsqlookupd.NewOptions()
	o.Logger = quiet{}
	// Where nobody listens: after an answer to its question for the channels of
	// a new topic, nsqd would keep an idle connection, with its goroutines, for
	// 90 seconds beyond the end of both servers.
	o.BroadcastAddress = "127.0.0.2"
	for _, f := range l.mutate {
		f(o)
	}
	o.TCPAddress, o.HTTPAddress = l.tcp, l.http
	d, err := nsqlookupd.New(o)
	if err != nil {
		runtime.GC() // only their finalizers close the listeners that New has opened
		return err
	}
	l.d, l.main = d, make(chan error, 1)
	go func() { l.main <- d.Main() }()
	return await(d.RealTCPAddr())
}

// HTTPAddr is the address for discovery, as host:port. It stays the same over
// restarts.
func (l *Lookupd) HTTPAddr() string { return l.http }

// Register lets an nsqd register here: give it to Start.
func (l *Lookupd) Register(o *nsqd.Options) {
	o.NSQLookupdTCPAddresses = append(o.NSQLookupdTCPAddresses, l.front.Addr())
}

// Stop ends nsqlookupd and waits for it; without effect when it is stopped
// already. It fails the test when that takes longer than 15 seconds.
func (l *Lookupd) Stop() {
	l.tb.Helper()
	if l.d == nil {
		return
	}
	if l.front != nil { // else it has not come that far
		// Exit would wait for ever for an nsqd that has just connected: it closes the
		// connections that have said who they are, and it does that once.
		l.front.Refuse()
		l.front.Cut()
	}
	exit(l.tb, "nsqlookupd", l.d.Exit, l.main)
	l.d = nil
}

// Restart stops nsqlookupd, if it runs, and starts it again on the same ports.
// It then knows nothing until nsqds ping it, which they do each 15 seconds or
// when they have news: see Kick.
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

// Kick makes an nsqd talk to its nsqlookupds at once, and so notice that they
// are new. It may be called again.
func (s *Server) Kick() {
	s.tb.Helper()
	d, name := s.NSQD(), fmt.Sprintf("kick%d#ephemeral", s.kicks.Add(1))
	d.GetTopic(name)
	if err := d.DeleteExistingTopic(name); err != nil { // the first finds the old connections gone
		s.tb.Fatalf("testnsqd: kick: %v", err)
	}
}
