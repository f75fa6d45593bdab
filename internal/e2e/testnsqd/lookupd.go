package testnsqd

import (
	"sync"
	"testing"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqio/nsq/nsqlookupd"
)

// Lookupd is an nsqlookupd that runs in this process.
type Lookupd struct {
	tb   testing.TB
	d    *nsqlookupd.NSQLookupd
	main chan error // what Main returned
	once sync.Once
}

// StartLookupd runs an nsqlookupd until the test ends. mutate may change its
// options. Start it before the nsqds that register with it. They find it, but
// its HTTP interface only by HTTPAddr: so they do not make the channels of a
// new topic that other nsqds have.
func StartLookupd(tb testing.TB, mutate ...func(*nsqlookupd.Options)) *Lookupd {
	tb.Helper()
	o := nsqlookupd.NewOptions()
	o.Logger = quiet{}
	o.TCPAddress, o.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
	// Where nobody listens: after an answer to its question for the channels of
	// a new topic, nsqd would keep an idle connection, with its goroutines, for
	// 90 seconds beyond the end of both servers.
	o.BroadcastAddress = "127.0.0.2"
	for _, f := range mutate {
		f(o)
	}
	d, err := nsqlookupd.New(o)
	if err != nil {
		tb.Fatalf("testnsqd: start nsqlookupd: %v", err)
	}
	l := &Lookupd{tb: tb, d: d, main: make(chan error, 1)}
	go func() { l.main <- d.Main() }()
	tb.Cleanup(l.Stop)
	if err := await(d.RealTCPAddr()); err != nil {
		tb.Fatalf("testnsqd: start nsqlookupd: %v", err)
	}
	return l
}

// HTTPAddr is the address for discovery, as host:port.
func (l *Lookupd) HTTPAddr() string { return l.d.RealHTTPAddr().String() }

// Register lets an nsqd register here: give it to Start.
func (l *Lookupd) Register(o *nsqd.Options) {
	o.NSQLookupdTCPAddresses = append(o.NSQLookupdTCPAddresses, l.d.RealTCPAddr().String())
}

// Stop ends nsqlookupd and waits for it; without effect the second time. It
// fails the test when that takes longer than 15 seconds.
func (l *Lookupd) Stop() {
	l.tb.Helper()
	l.once.Do(func() { exit(l.tb, "nsqlookupd", l.d.Exit, l.main) })
}
