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

// newProducer makes a producer of strings to a topic, and closes it when the test ends.
func newProducer(tb testing.TB, topic string, opts ...nsqx.ProducerOption) *nsqx.Producer[string] {
	tb.Helper()
	p, err := nsqx.NewProducer(topic, codec.String(), opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeIn(tb, p.Shutdown) })
	return p
}

// newPublisher is newProducer for what several producers share.
func newPublisher(tb testing.TB, opts ...nsqx.ProducerOption) *nsqx.Publisher {
	tb.Helper()
	p, err := nsqx.NewPublisher(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeIn(tb, p.Shutdown) })
	return p
}

// closeIn closes with what time there is.
func closeIn(tb testing.TB, end func(context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := end(ctx); err != nil {
		tb.Errorf("close: %v", err)
	}
}

// must is for what must not fail.
func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// connectTo waits until p is connected.
func connectTo(tb testing.TB, p interface{ Ping(context.Context) error }) {
	tb.Helper()
	must(tb, p.Ping(tb.Context()))
}

// kindOf returns which of the three a publish error is. It must be exactly one.
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

// wantKind fails the test unless err is of that kind alone.
func wantKind(tb testing.TB, what string, err, kind error) {
	tb.Helper()
	if got := kindOf(tb, err); got != kind {
		tb.Errorf("%s: %v, want that it is %q", what, err, kind)
	}
}

// wantCode fails the test unless err comes from that answer of nsqd.
func wantCode(tb testing.TB, err error, code string) {
	tb.Helper()
	if e, ok := errors.AsType[*conn.ServerError](err); !ok || e.Code != code {
		tb.Errorf("%v, want %s", err, code)
	}
}

// count is how many messages nsqd has taken for a topic, since it was started.
func count(s *testnsqd.Server, topic string) int {
	for _, t := range s.NSQD().GetStats(topic, "", false).Topics {
		return int(t.MessageCount)
	}
	return 0
}

// onTopic returns all that is on a topic, each body with how often it is there. Nobody may
// publish there any more.
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

// results are what became of publishes, by body.
type results struct {
	mu          sync.Mutex
	confirmed   []string
	unconfirmed []string
	others      []error // any other error
}

// note notes the result of a publish.
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

// publish publishes and notes what becomes of it.
func (r *results) publish(ctx context.Context, p *nsqx.Producer[string], body string) error {
	err := p.Publish(ctx, body)
	r.note(body, err)
	return err
}

// check fails the test if a publish had another error than ErrUnconfirmed, or what is
// confirmed is not there, or anything is there twice.
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

// firstTo calls f for the first piece in one direction that contains part, which it swallows.
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

// gate holds up what a client writes while it is shut.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // nil while it is open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
	g.open = nil
}

func (g *gate) pass() {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	if open != nil {
		<-open
	}
}

// dial is for DialContext.
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
	c.gate.pass()
	return c.TCPConn.Write(b)
}
