package test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// newPublisher makes a publisher of servers that is connected, if possible, and shut down at the
// end of the test.
func newPublisher(t *testing.T, servers []*nsqxtest.Server, opts ...nsqx.ProducerOption) *nsqx.Publisher {
	t.Helper()
	return newPublisherOf(t, append(opts, nsqxtest.Option(servers...))...)
}

// newPublisherOf is newPublisher without servers.
func newPublisherOf(t *testing.T, opts ...nsqx.ProducerOption) *nsqx.Publisher {
	t.Helper()
	p, err := nsqx.NewPublisher(append(opts, nsqx.WithLogger(discard))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.Shutdown(ctx)
	})
	synctest.Wait()
	return p
}

// newProducer makes a producer of orders that is shut down at the end of the test.
func newProducer(t *testing.T, opts ...nsqx.ProducerOption) *nsqx.Producer[string] {
	t.Helper()
	p, err := nsqx.NewProducer("orders", codec.String(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.Shutdown(ctx)
	})
	synctest.Wait()
	return p
}

// sendTo sends one message to a topic.
func sendTo(ctx context.Context, p *nsqx.Publisher, topic, body string) error {
	return p.Send(ctx, message(topic, body))
}

func message(topic string, bodies ...string) *handler.Outgoing {
	out := &handler.Outgoing{Topic: topic}
	for _, body := range bodies {
		out.Messages = append(out.Messages, handler.OutgoingMessage{Body: []byte(body)})
	}
	return out
}

// inBackground starts f and returns a channel with its result.
func inBackground(f func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	synctest.Wait()
	return result
}

// wantKind checks that err is of one kind, or nil if kind is nil, and of no other.
func wantKind(t testing.TB, err, kind error) {
	t.Helper()
	if (err == nil) != (kind == nil) {
		t.Errorf("got error %v, want %v", err, kind)
	}
	for _, k := range []error{nsqx.ErrRejected, nsqx.ErrNotSent, nsqx.ErrUnconfirmed} {
		if errors.Is(err, k) != (k == kind) {
			t.Errorf("got error %v, want that it is %v and nothing else", err, kind)
		}
	}
}

// wantUnanswered checks the errors of publishes that got no answer: each is ErrUnconfirmed or
// ErrNotSent, and some are ErrUnconfirmed.
func wantUnanswered(t testing.TB, errs []error) {
	t.Helper()
	unconfirmed := 0
	for _, err := range errs {
		if errors.Is(err, nsqx.ErrUnconfirmed) {
			unconfirmed++
			wantKind(t, err, nsqx.ErrUnconfirmed)
		} else {
			wantKind(t, err, nsqx.ErrNotSent)
		}
	}
	if unconfirmed == 0 {
		t.Errorf("none is unconfirmed of %v", errs)
	}
}

// published returns the messages of a topic on a server, in order.
func published(s *nsqxtest.Server, topic string) string {
	synctest.Wait()
	var all []string
	for _, p := range s.Published(topic) {
		all = append(all, string(p.Body))
	}
	return strings.Join(all, " ")
}

// commands returns the number of publishes that a server received.
func commands(s *nsqxtest.Server) (n int) { return len(s.Commands("PUB", "DPUB", "MPUB")) }

// onPublish sets the action for each publish to servers.
func onPublish(f func(c *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action, servers ...*nsqxtest.Server) {
	for _, s := range servers {
		for _, name := range []string{"PUB", "DPUB", "MPUB"} {
			s.On(name, f)
		}
	}
}

// always takes one action for each publish.
func always(a nsqxtest.Action) func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
	return func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return a }
}

// sequence takes the actions one after another, then proceeds. It is for one connection at a time.
func sequence(actions ...nsqxtest.Action) func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
	return func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
		if len(actions) == 0 {
			return nsqxtest.Proceed()
		}
		a := actions[0]
		actions = actions[1:]
		return a
	}
}

func numbered(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint("m", i))
	}
	return all
}

// refusedDial is a DialContext that fails.
func refusedDial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("there is nothing here")
}

// publishedBy returns the number of messages of a topic on each server.
func publishedBy(servers []*nsqxtest.Server, topic string) (n []int) {
	for _, s := range servers {
		n = append(n, len(s.Published(topic)))
	}
	return n
}

// brokenConn is a connection whose writes fail while broken is set. Its reads block.
type brokenConn struct {
	net.Conn
	broken *atomic.Bool
}

func (c brokenConn) Write(p []byte) (int, error) {
	if c.broken.Load() {
		return 0, errors.New("broken")
	}
	return c.Conn.Write(p)
}

// recordCalls returns middleware that records its calls, before and after next.
func recordCalls(calls *synced[string], name string) handler.SendMiddleware {
	return func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			calls.add(name)
			defer calls.add("/" + name)
			return next(ctx, out)
		}
	}
}

// headers returns the headers and the payload of a published body, without the id and the time that
// each has.
func headers(t *testing.T, body []byte) (all, payload string) {
	t.Helper()
	h, rest, err := envelope.Split(body)
	wantErr(t, "Split", err, nil)
	var list []string
	for k, v := range h.All() {
		if k != envelope.ID && k != envelope.Published {
			list = append(list, k+"="+v)
		}
	}
	return strings.Join(list, " "), string(rest)
}

// bubbleGoroutines returns the number of goroutines in bubbles. Only one test has a bubble at a
// time.
func bubbleGoroutines() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), ", synctest bubble ")
}

// outgoingWith returns a publish whose messages have headers of their own. common and each of own
// are "key=value" pairs, separated by spaces; own[i] belongs to the message with the body "mi".
func outgoingWith(t *testing.T, common string, own ...string) *handler.Outgoing {
	t.Helper()
	set := func(w *envelope.Writer, headers string) {
		for _, h := range strings.Fields(headers) {
			key, value, _ := strings.Cut(h, "=")
			wantErr(t, "Set", w.Set(key, value), nil)
		}
	}
	out := message("orders", numbered(len(own))...)
	out.Envelope = true
	set(&out.Headers, common)
	for i := range own {
		set(&out.Messages[i].Headers, own[i])
	}
	return out
}
