package publish

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
)

const (
	addrA = "a:4150"
	addrB = "b:4150"
	addrC = "c:4150"
)

var (
	errRefused = errors.New("refused")
	errCause   = errors.New("the cause")
	errPanic   = errors.New("the value of a panic")
	discard    = slog.New(slog.DiscardHandler)
)

// nsqds plays any number of nsqds, in a bubble.
type nsqds struct {
	t   *testing.T
	net *fake.Network

	mu     sync.Mutex
	answer map[string]string        // to a publish, by address; defaults to "OK". "cut" ends the connection, "hang" does nothing
	refuse map[string]error         // dials that fail, by address
	gate   map[string]chan struct{} // dials that wait, by address
	hook   func(count int)          // called for each command before it is answered; may be nil
	peers  map[string]*fake.Peer    // the last of each address

	published check.Synced[string] // "address: body body", a command each
}

func newNSQDs(t *testing.T) *nsqds {
	n := &nsqds{t: t, answer: make(map[string]string), refuse: make(map[string]error), gate: make(map[string]chan struct{}), peers: make(map[string]*fake.Peer)}
	n.net = fake.NewNetwork(t, n.serve)
	return n
}

func (n *nsqds) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// onPublish calls f for each command before it is answered, with the number of commands so far.
func (n *nsqds) onPublish(f func(count int)) { n.set(func() { n.hook = f }) }

// hold makes dials of an address wait until release is called.
func (n *nsqds) hold(addr string) (release func()) {
	gate := make(chan struct{})
	n.set(func() { n.gate[addr] = gate })
	return func() {
		n.set(func() { delete(n.gate, addr) })
		close(gate)
		synctest.Wait()
	}
}

func (n *nsqds) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	gate := n.gate[addr]
	n.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	n.mu.Lock()
	err := n.refuse[addr]
	n.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return n.net.DialContext(ctx, network, addr)
}

// say answers the oldest publish to an address that hangs.
func (n *nsqds) say(addr string) {
	n.mu.Lock()
	p := n.peers[addr]
	n.mu.Unlock()
	p.Response("OK")
	synctest.Wait()
}

func (n *nsqds) serve(p *fake.Peer) {
	n.set(func() { n.peers[p.Addr] = p })
	p.Identify(nil)
	for {
		cmd, err := p.Next()
		if err != nil {
			return
		}
		var bodies []string
		switch cmd.Name {
		case "PUB", "DPUB":
			bodies = []string{string(cmd.Body)}
		case "MPUB":
			for rest := cmd.Body[4:]; len(rest) > 0; {
				size := binary.BigEndian.Uint32(rest)
				bodies = append(bodies, string(rest[4:4+size]))
				rest = rest[4+size:]
			}
		default:
			continue
		}
		n.published.Add(p.Addr + ": " + strings.Join(bodies, " "))
		n.mu.Lock()
		hook := n.hook
		n.mu.Unlock()
		if hook != nil {
			hook(n.published.Len())
		}
		n.mu.Lock()
		answer := n.answer[p.Addr]
		n.mu.Unlock()
		switch answer {
		case "":
			p.Response("OK")
		case "cut":
			return
		case "hang":
		default:
			p.Error(answer)
		}
	}
}

// config is that of connections without a time limit that the test does not set.
func (n *nsqds) config() conn.Config {
	return conn.Config{DialContext: n.dial, HeartbeatInterval: time.Minute, DialTimeout: time.Hour}
}

// router returns a router that knows addresses, and closes it at the end of the test.
func (n *nsqds) router(cfg Config, addrs ...string) *Router {
	if cfg.Conn.DialContext == nil {
		limits := cfg.Conn
		cfg.Conn = n.config()
		cfg.Conn.MaxMessageSize, cfg.Conn.MaxBodySize = limits.MaxMessageSize, limits.MaxBodySize
	}
	r := New(cfg)
	n.t.Cleanup(func() { r.Close(true) })
	for _, addr := range addrs {
		r.Connect(addr)
		synctest.Wait()
	}
	return r
}

// conn returns the connection to an address.
func connTo(t *testing.T, r *Router, addr string) *conn.Conn {
	t.Helper()
	for _, c := range r.Conns() {
		if c.Addr() == addr {
			return c
		}
	}
	t.Fatalf("no connection to %s", addr)
	return nil
}

// wantPublished checks the commands, in the order in which nsqds got them.
func (n *nsqds) wantPublished(want ...string) {
	n.t.Helper()
	synctest.Wait()
	check.Want(n.t, "published", strings.Join(n.published.All(), "; "), strings.Join(want, "; "))
}

// message returns a publish of bodies to orders.
func message(bodies ...string) *handler.Outgoing {
	out := &handler.Outgoing{Topic: "orders"}
	for _, body := range bodies {
		out.Messages = append(out.Messages, handler.OutgoingMessage{Body: []byte(body)})
	}
	return out
}

// setHeaders sets headers given as "key=value", separated by spaces.
func setHeaders(t *testing.T, w *envelope.Writer, headers string) {
	t.Helper()
	for _, h := range strings.Fields(headers) {
		key, value, _ := strings.Cut(h, "=")
		check.WantErr(t, "Set", w.Set(key, value), nil)
	}
}

// headersOf returns headers as setHeaders takes them.
func headersOf(w *envelope.Writer) string {
	var all []string
	for key, value := range w.All() {
		all = append(all, key+"="+value)
	}
	return strings.Join(all, " ")
}

// wantKind checks that an error is a PublishError of a kind. The kind nil stands for success.
func wantKind(t *testing.T, err, kind error) *conn.PublishError {
	t.Helper()
	if kind == nil {
		check.WantErr(t, "error", err, nil)
		return nil
	}
	e, ok := errors.AsType[*conn.PublishError](err)
	if !ok || e.Kind != kind {
		t.Fatalf("error is %v, want a PublishError of the kind %v", err, kind)
	}
	return e
}

// lasting is an error of a connection that does not heal, passing is one that may.
var (
	lasting = &conn.Error{Addr: addrA, Phase: conn.PhaseAuth, Err: conn.ErrNoPermissions}
	passing = &conn.Error{Addr: addrB, Phase: conn.PhaseDial, Err: io.EOF}
)
