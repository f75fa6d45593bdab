package nsqx_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// newPublisher makes a publisher that is closed at the end of the test, and connected now where it can be.
func newPublisher(t *testing.T, servers []*nsqxtest.Server, opts ...nsqx.ProducerOption) *nsqx.Publisher {
	t.Helper()
	return started(t, append(opts, nsqxtest.Option(servers...))...)
}

// started is newPublisher, without servers.
func started(t *testing.T, opts ...nsqx.ProducerOption) *nsqx.Publisher {
	t.Helper()
	p, err := nsqx.NewPublisher(append(opts, nsqx.WithLogger(discard))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.Close(ctx)
	})
	synctest.Wait()
	return p
}

// newProducer makes a producer of orders that is closed at the end of the test.
func newProducer(t *testing.T, opts ...nsqx.ProducerOption) *nsqx.Producer[string] {
	t.Helper()
	p, err := nsqx.NewProducer("orders", codec.String(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.Close(ctx)
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

// inBackground calls f and returns where its result will be.
func inBackground(f func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	synctest.Wait()
	return result
}

// wantKind checks that an error is of one kind, nil for none, and of no other.
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

// wantUnanswered checks that publishes, some of which were sent, have each failed with one kind of error: that of one that was sent, or not.
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

// published are the messages that a server has taken to a topic, in order.
func published(s *nsqxtest.Server, topic string) string {
	synctest.Wait()
	var all []string
	for _, p := range s.Published(topic) {
		all = append(all, string(p.Body))
	}
	return strings.Join(all, " ")
}

// commands are the publishes that a server has heard.
func commands(s *nsqxtest.Server) (n int) { return len(s.Commands("PUB", "DPUB", "MPUB")) }

// onPublish decides what becomes of all publishes to servers.
func onPublish(f func(c *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action, servers ...*nsqxtest.Server) {
	for _, s := range servers {
		for _, name := range []string{"PUB", "DPUB", "MPUB"} {
			s.On(name, f)
		}
	}
}

// always takes an action for each publish.
func always(a nsqxtest.Action) func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
	return func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action { return a }
}

// inTurn takes the actions one after the other, and proceeds then. It is for one connection at a time.
func inTurn(actions ...nsqxtest.Action) func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
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

// refuses is a network with nothing in it.
func refuses(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("there is nothing here")
}
