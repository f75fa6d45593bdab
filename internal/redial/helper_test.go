package redial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/notify"
)

const (
	addrA = "a:4150"
	addrB = "b:4150"
)

var (
	orders     = &conn.Subscription{Topic: "orders", Channel: "billing"}
	errRefused = errors.New("refused")
)

// event is an event that a Set posted.
type event struct {
	kind  notify.Kind
	addr  string
	err   error
	retry time.Duration
	at    time.Duration // since the start of the test
}

// fixture is a Set in a bubble, over a fake network.
type fixture struct {
	*Set
	t      *testing.T
	net    *fake.Network
	cancel context.CancelFunc // ends the ctx of Start
	start  time.Time

	events   check.Synced[event]
	peers    check.Synced[*fake.Peer]
	attached atomic.Int64
	tried    atomic.Int64
	detached check.Synced[*conn.Conn]
	gate     atomic.Pointer[chan struct{}] // dials wait until it is closed, if it is not nil
}

// newFixture returns a Set that is not started. script plays nsqd; nil is serve. The Set is closed
// at the end of the test.
func newFixture(t *testing.T, cfg Config, script func(*fake.Peer)) *fixture {
	f := &fixture{t: t, start: time.Now()}
	if script == nil {
		script = serve
	}
	f.net = fake.NewNetwork(t, func(p *fake.Peer) {
		f.peers.Add(p)
		script(p)
	})
	cfg.Conn.HeartbeatInterval = time.Minute // nothing arrives for two of them: the connection is dead
	if cfg.Conn.DialContext == nil {
		cfg.Conn.DialContext = f.dial
	}
	cfg.Post = func(kind notify.Kind, addr string, err error, retry time.Duration) {
		f.events.Add(event{kind, addr, err, retry, time.Since(f.start)})
	}
	cfg.Attached = func() { f.attached.Add(1) }
	cfg.Tried = func() { f.tried.Add(1) }
	cfg.Detached = func(c *conn.Conn) { f.detached.Add(c) }
	f.Set = New(cfg)
	t.Cleanup(f.stop)
	return f
}

// started returns a Set that dials addresses.
func started(t *testing.T, cfg Config, addrs ...string) *fixture {
	f := newFixture(t, cfg, nil)
	f.run()
	for _, addr := range addrs {
		f.Connect(addr)
	}
	synctest.Wait()
	return f
}

// run starts the Set.
func (f *fixture) run() {
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.Background())
	f.Start(ctx)
	synctest.Wait()
}

// purge tells that the topic was deleted at this moment.
func (f *fixture) purge() { f.Purge(time.Now().Add(1)) }

// stop closes the Set and its connections, and waits for their end.
func (f *fixture) stop() {
	for _, c := range f.Close() {
		c.Abort(nil)
	}
	if f.cancel != nil {
		f.cancel()
	}
	f.Wait()
}

func (f *fixture) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if gate := f.gate.Load(); gate != nil {
		select {
		case <-*gate:
		case <-ctx.Done():
		}
	}
	return f.net.DialContext(ctx, network, addr)
}

// hold makes dials wait until release is called.
func (f *fixture) hold() (release func()) {
	gate := make(chan struct{})
	f.gate.Store(&gate)
	return func() {
		f.gate.Store(nil)
		close(gate)
		synctest.Wait()
	}
}

// cut ends the newest connection, as a crash of nsqd does.
func (f *fixture) cut() {
	f.t.Helper()
	peers := f.peers.All()
	if len(peers) == 0 {
		f.t.Fatal("no connection")
	}
	peers[len(peers)-1].Close()
	synctest.Wait()
}

// wantState checks the only address: "dialling", "waiting", "connected", "idle" or "gone".
func (f *fixture) wantState(want string) {
	f.t.Helper()
	synctest.Wait()
	f.mu.Lock()
	got := "gone"
	if len(f.lines) > 0 {
		l := f.lines[0]
		switch {
		case len(f.lines) > 1:
			got = "several"
		case l.conn != nil:
			got = "connected"
		case l.waiting:
			got = "waiting"
		case l.running:
			got = "dialling"
		default:
			got = "idle"
		}
	}
	f.mu.Unlock()
	check.Want(f.t, "state", got, want)
}

// wantDials checks the number of dials that reached the network.
func (f *fixture) wantDials(want int) {
	f.t.Helper()
	synctest.Wait()
	check.Want(f.t, "dials", f.net.Dials(), want)
}

// wantEvents checks the kinds of all events.
func (f *fixture) wantEvents(want string) {
	f.t.Helper()
	synctest.Wait()
	var kinds []string
	for _, e := range f.events.All() {
		kinds = append(kinds, map[notify.Kind]string{notify.Connect: "connect", notify.Disconnect: "disconnect", notify.DialError: "error"}[e.kind])
	}
	check.Want(f.t, "events", strings.Join(kinds, " "), want)
}

// last returns the newest event.
func (f *fixture) last() event {
	f.t.Helper()
	synctest.Wait()
	all := f.events.All()
	if len(all) == 0 {
		f.t.Fatal("no event")
	}
	return all[len(all)-1]
}

// wantPause checks a pause against the bounds of the jitter around base.
func wantPause(t *testing.T, what string, got, base time.Duration) {
	t.Helper()
	if low, high := base/2, base*3/2; got < low || got > high {
		t.Errorf("%s: pause is %v, want %v to %v", what, got, low, high)
	}
}

// serve plays nsqd: it takes any handshake, confirms publishes, and answers CLS.
func serve(p *fake.Peer) {
	p.Identify(nil)
	for {
		cmd, err := p.Next()
		if err != nil {
			return
		}
		switch cmd.Name {
		case "SUB", "PUB", "MPUB":
			p.Response("OK")
		case "CLS":
			p.Response("CLOSE_WAIT")
		}
	}
}

// answering plays an nsqd that answers one command with an error.
func answering(name, text string) func(*fake.Peer) {
	return func(p *fake.Peer) {
		p.Identify(nil)
		for {
			cmd, err := p.Next()
			switch {
			case err != nil:
				return
			case cmd.Name == name:
				p.Error(text)
			case cmd.Name == "SUB" || cmd.Name == "PUB":
				p.Response("OK")
			}
		}
	}
}

// publish publishes one message on the only connection.
func (f *fixture) publish() error {
	f.t.Helper()
	conns := f.Conns()
	if len(conns) != 1 {
		f.t.Fatalf("%d connections", len(conns))
	}
	return conns[0].Publish(context.Background(), &conn.Pub{Topic: "orders", Bodies: [][]byte{[]byte("x")}})
}

func (e event) String() string {
	return fmt.Sprintf("%d %s %v %v at %v", e.kind, e.addr, e.err, e.retry, e.at)
}
