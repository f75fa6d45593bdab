package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

func newProducer(tb testing.TB, topic string, opts ...nsqx.ProducerOption) *nsqx.Producer[string] {
	tb.Helper()
	p, err := nsqx.NewProducer(topic, codec.String(), opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeIn(tb, p) })
	return p
}

func newPublisher(tb testing.TB, opts ...nsqx.ProducerOption) *nsqx.Publisher {
	tb.Helper()
	p, err := nsqx.NewPublisher(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeIn(tb, p) })
	return p
}

// closeIn closes a publisher that the test has not closed.
func closeIn(tb testing.TB, p interface {
	Shutdown(ctx context.Context) error
	Healthy() error
}) {
	tb.Helper()
	if p.Healthy() == nsqx.ErrNotRunning {
		return // a second end has the result of the first
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil {
		tb.Errorf("close: %v", err)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func connectTo(tb testing.TB, p interface{ Ping(context.Context) error }) {
	tb.Helper()
	must(tb, p.Ping(tb.Context()))
}

// kindOf returns the kind of a publish error, which must be exactly one of three.
func kindOf(tb testing.TB, err error) (kind error) {
	tb.Helper()
	n := 0
	for _, k := range []error{nsqx.ErrRejected, nsqx.ErrNotSent, nsqx.ErrUnconfirmed} {
		if errors.Is(err, k) {
			kind = k
			n++
		}
	}
	if n != 1 || !isA[*nsqx.PublishError](err) {
		tb.Errorf("%d kinds, want 1, in the error %v (%T)", n, err, err)
	}
	return kind
}

func wantKind(tb testing.TB, what string, err, kind error) {
	tb.Helper()
	if got := kindOf(tb, err); got != kind {
		tb.Errorf("%s: %v, want that it is %q", what, err, kind)
	}
}

func wantCode(tb testing.TB, err error, code string) {
	tb.Helper()
	if e, ok := errors.AsType[*conn.ServerError](err); !ok || e.Code != code {
		tb.Errorf("%v, want %s", err, code)
	}
}

// count returns how many messages of a topic nsqd has accepted since it started.
func count(s *testnsqd.Server, topic string) int {
	for _, t := range s.NSQD().GetStats(topic, "", false).Topics {
		return int(t.MessageCount)
	}
	return 0
}

// onTopic returns how often each body is on a topic. Nothing may be published there meanwhile.
func onTopic(tb testing.TB, s *testnsqd.Server, topic string, opts ...nsqx.ConsumerOption) map[string]int {
	tb.Helper()
	bodies := make(map[string]int)
	for _, b := range collect(tb, s, topic, channel, count(s, topic), opts...) {
		bodies[b]++
	}
	return bodies
}

// wantOnce fails the test unless a topic has each of bodies once, and nothing else.
func wantOnce(tb testing.TB, s *testnsqd.Server, topic string, bodies []string, opts ...nsqx.ConsumerOption) {
	tb.Helper()
	got := collect(tb, s, topic, channel, len(bodies), opts...)
	want := slices.Sorted(slices.Values(bodies))
	if !slices.Equal(got, want) {
		tb.Errorf("%s has %d messages that are not those %d that were confirmed:\n%.300q\n%.300q", topic, len(got), len(want), got, want)
	}
}

// results are the results of publishes, by body.
type results struct {
	mu          sync.Mutex
	confirmed   []string
	unconfirmed []string
	others      []error // all other errors
}

func (r *results) note(body string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.confirmed = append(r.confirmed, body)
	case errors.Is(err, nsqx.ErrUnconfirmed):
		r.unconfirmed = append(r.unconfirmed, body)
	default:
		r.others = append(r.others, err)
	}
}

func (r *results) publish(ctx context.Context, p *nsqx.Producer[string], body string) error {
	err := p.Publish(ctx, body)
	r.note(body, err)
	return err
}

// check fails the test if a publish had an error other than ErrUnconfirmed, a confirmed message is
// missing, or a message is there twice.
func (r *results) check(tb testing.TB, there map[string]int) {
	tb.Helper()
	if len(r.others) > 0 {
		tb.Errorf("%d of %d publishes failed, the first with %v", len(r.others), len(r.others)+len(r.confirmed)+len(r.unconfirmed), r.others[0])
	}
	lost, twice := 0, 0
	for _, body := range r.confirmed {
		if there[body] == 0 {
			lost++
		}
	}
	for _, n := range there {
		if n > 1 {
			twice++
		}
	}
	if lost > 0 || twice > 0 {
		tb.Errorf("%d confirmed messages are lost, %d are there twice, of %d", lost, twice, len(r.confirmed))
	}
}

// okFrame is nsqd's answer to a publish.
var okFrame = []byte("\x00\x00\x00\x06\x00\x00\x00\x00OK")

// firstTo calls f for the first bytes to d that contain part, and swallows them.
func firstTo(d testnsqd.Direction, part []byte, f func()) testnsqd.Tap {
	var once sync.Once
	return func(at testnsqd.Direction, b []byte) []byte {
		if at == d && bytes.Contains(b, part) {
			once.Do(func() {
				f()
				b = nil
			})
		}
		return b
	}
}

// gate blocks the writes of a client while it is closed.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // nil while open
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opened)
	g.opened = nil
}

func (g *gate) wait() {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened != nil {
		<-opened
	}
}

func (g *gate) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return gatedConn{c.(*net.TCPConn), g}, nil
}

type gatedConn struct {
	*net.TCPConn
	gate *gate
}

func (c gatedConn) Write(b []byte) (int, error) {
	c.gate.wait()
	return c.TCPConn.Write(b)
}
