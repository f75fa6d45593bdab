package conn_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/pipe"
)

// beat is the heartbeat interval of a Config that sets none.
const beat = 30 * time.Second

// stream is a connection that is served, in a bubble, with the test itself at nsqd's end of it.
type stream struct {
	*conn.Conn
	t     *testing.T
	p     *fake.Peer
	tap   *streamTap
	sink  *streamSink
	start time.Time     // of the bubble's clock, at the end of the handshake
	ended chan struct{} // closed when Serve has returned
	err   error         // what it returned; the instant is at
	at    time.Duration // since start
}

// streamOptions say what is special about a stream. The zero value is a plain subscribed connection to an nsqd with its defaults.
type streamOptions struct {
	cfg      conn.Config
	identify map[string]any
	publish  bool                          // no subscription
	upgrade  func(p *fake.Peer)            // between IDENTIFY and SUB
	server   func(net.Conn) net.Conn       // wraps nsqd's end
	deliver  func(msgs []handler.Delivery) // instead of collecting them
	chunk    int                           // most bytes a read returns
	idle     bool                          // do not call Serve
}

func openStream(t *testing.T, o streamOptions) *stream {
	t.Helper()
	client, server := pipe.New()
	s := &stream{t: t, tap: &streamTap{Conn: client, chunk: o.chunk}, sink: &streamSink{deliver: o.deliver}, ended: make(chan struct{})}
	var nc net.Conn = server
	if o.server != nil {
		nc = o.server(nc)
	}
	s.p = fake.NewPeer(t, nc)
	sub := orders
	if o.publish {
		sub = nil
	}
	shaken := make(chan struct{})
	go func() {
		defer close(shaken)
		s.p.Identify(o.identify)
		if o.upgrade != nil {
			o.upgrade(s.p)
		}
		if sub != nil {
			s.p.Expect("SUB")
			s.p.Response("OK")
		}
	}()
	o.cfg.DialContext = func(context.Context, string, string) (net.Conn, error) { return s.tap, nil }
	c, err := conn.Dial(t.Context(), address, o.cfg, sub)
	<-shaken
	if err != nil {
		t.Fatal(err)
	}
	s.Conn, s.start = c, time.Now()
	s.tap.forget()
	t.Cleanup(s.stop)
	if o.idle {
		close(s.ended)
	} else {
		go s.serve()
	}
	return s
}

func (s *stream) serve() {
	s.err = s.Serve(s.sink)
	s.at = time.Since(s.start)
	close(s.ended)
}

func (s *stream) stop() {
	s.Abort(nil)
	s.p.Close()
	<-s.ended
}

// wait returns what Serve returned.
func (s *stream) wait() error {
	<-s.ended
	return s.err
}

// failed checks that Serve returned an *Error of the given phase, after the given time, and returns it.
func (s *stream) failed(phase conn.Phase, after time.Duration) *conn.Error {
	s.t.Helper()
	failure := s.broken(phase)
	if s.at != after {
		s.t.Errorf("it ended after %v, want %v", s.at, after)
	}
	return failure
}

// broken is failed, whenever it was.
func (s *stream) broken(phase conn.Phase) *conn.Error {
	s.t.Helper()
	failure, ok := s.wait().(*conn.Error)
	if !ok {
		s.t.Fatalf("Serve returned %T %v, want *conn.Error", s.err, s.err)
	}
	if failure.Addr != address || failure.Phase != phase {
		s.t.Errorf("Serve returned %v (address %s, phase %s); want phase %s", failure, failure.Addr, failure.Phase, phase)
	}
	return failure
}

// sent returns the commands that the connection has written since the last call. It asks for a NOP to find their end.
func (s *stream) sent() string {
	synctest.Wait()
	s.p.Heartbeat()
	var sent []string
	for {
		cmd, err := s.p.Next()
		if err != nil || cmd.Name == "NOP" {
			return strings.Join(sent, ", ")
		}
		sent = append(sent, cmd.String())
	}
}

func (s *stream) wantSent(want string) {
	s.t.Helper()
	if got := s.sent(); got != want {
		s.t.Errorf("sent %q, want %q", got, want)
	}
}

// message sends a message and returns what was delivered.
func (s *stream) message(n uint64) *handler.Delivery {
	s.t.Helper()
	s.p.Message(fake.ID(n), 1, fmt.Appendf(nil, "body %d", n))
	synctest.Wait()
	return s.last()
}

func (s *stream) last() *handler.Delivery {
	s.t.Helper()
	all := s.sink.messages()
	if len(all) == 0 {
		s.t.Fatal("no message was delivered")
	}
	return all[len(all)-1]
}

// alive checks that the connection still answers.
func (s *stream) alive() {
	s.t.Helper()
	synctest.Wait()
	select {
	case <-s.ended:
		s.t.Fatalf("it has ended: %v", s.err)
	default:
	}
	s.p.Heartbeat()
	s.p.Expect("NOP")
}

// streamSink collects.
type streamSink struct {
	deliver func(msgs []handler.Delivery)

	mu      sync.Mutex
	all     []*handler.Delivery
	batches []int
	errs    []error // Refused
	yielded atomic.Int32
}

func (s *streamSink) Deliver(_ *conn.Conn, msgs []handler.Delivery) {
	if s.deliver != nil {
		s.deliver(msgs)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, len(msgs))
	for i := range msgs {
		s.all = append(s.all, &msgs[i])
	}
}

func (s *streamSink) Refused(_ *conn.Conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

func (s *streamSink) Yielded(*conn.Conn) { s.yielded.Add(1) }

func (s *streamSink) messages() []*handler.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *streamSink) refused() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.errs)
}

// streamTap is the client's end: it records the writes, and can hold up either direction.
type streamTap struct {
	*pipe.Conn
	chunk int

	mu             sync.Mutex
	writes         []string
	reading, gated chan struct{} // nil: open
	broken         error         // of the next write
}

func (c *streamTap) Read(p []byte) (int, error) {
	if c.chunk > 0 {
		p = p[:min(len(p), c.chunk)]
	}
	n, err := c.Conn.Read(p)
	c.pass(&c.reading)
	return n, err
}

func (c *streamTap) Write(p []byte) (int, error) {
	c.pass(&c.gated)
	c.mu.Lock()
	err := c.broken
	if err == nil {
		c.writes = append(c.writes, string(p))
	}
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *streamTap) pass(gate *chan struct{}) {
	c.mu.Lock()
	g := *gate
	c.mu.Unlock()
	if g != nil {
		<-g
	}
}

func (c *streamTap) hold(gate *chan struct{}) (open func()) {
	g := make(chan struct{})
	c.mu.Lock()
	*gate = g
	c.mu.Unlock()
	return sync.OnceFunc(func() {
		c.mu.Lock()
		*gate = nil
		c.mu.Unlock()
		close(g)
	})
}

// holdWrites lets the next write wait until open is called.
func (c *streamTap) holdWrites() (open func()) { return c.hold(&c.gated) }

// holdReads lets a read wait with what it has read.
func (c *streamTap) holdReads() (open func()) { return c.hold(&c.reading) }

// breakWrites lets writes fail.
func (c *streamTap) breakWrites(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = err
}

func (c *streamTap) forget() { c.written() }

// written returns the writes since the last call.
func (c *streamTap) written() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.writes
	c.writes = nil
	return w
}

// wantWritten checks the writes since the last call, each by its bytes.
func (s *stream) wantWritten(want ...string) {
	s.t.Helper()
	synctest.Wait()
	if got := s.tap.written(); !slices.Equal(got, want) {
		s.t.Errorf("wrote %q, want %q", got, want)
	}
}

// wantIs checks an error's chain.
func wantIs(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("error is %v, want %v", err, target)
	}
}

// wantCause checks that ctx has ended, and why; nil: that it has not.
func wantCause(t *testing.T, ctx context.Context, want error) {
	t.Helper()
	if got := context.Cause(ctx); got != want {
		t.Errorf("cause of the context's end is %v, want %v", got, want)
	}
}

func fin(n uint64) string { return "FIN " + fake.ID(n) }

func req(n uint64, ms int64) string { return fmt.Sprintf("REQ %s %d", fake.ID(n), ms) }

func touch(n uint64) string { return "TOUCH " + fake.ID(n) }
