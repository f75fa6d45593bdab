package nsqxtest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

type Order struct{ ID, Cents int }

var ErrNoCredit = errors.New("no credit")

// NewBilling is how a service makes its consumer: what a test adds are more options.
func NewBilling(opts ...nsqx.ConsumerOption) (*nsqx.Consumer[Order], error) {
	bill := func(ctx context.Context, o Order) error {
		switch {
		case o.Cents < 0:
			return retry.Permanent(fmt.Errorf("order %d: negative", o.ID))
		case o.Cents > 1000 && handler.FromContext(ctx).Attempts < 3:
			return retry.After(time.Minute, ErrNoCredit)
		}
		return nil
	}
	return nsqx.NewConsumer("orders", "billing", codec.JSON[Order](), bill,
		nsqx.WithNSQD("nsqd.prod:4150"),
		nsqx.WithDeadLetter("orders.dead"),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithConsumerOptions(opts...),
	)
}

// exampleT stands for the *testing.T of a test, which examples do not have: it prints.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (t *exampleT) Helper()                           {}
func (t *exampleT) Context() context.Context          { return context.Background() }
func (t *exampleT) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Errorf(format string, args ...any) { fmt.Printf("ERROR "+format+"\n", args...) }

func (t *exampleT) Fatal(args ...any) {
	fmt.Println(args...)
	os.Exit(1)
}

func (t *exampleT) end() {
	for len(t.cleanups) > 0 {
		last := len(t.cleanups) - 1
		f := t.cleanups[last]
		t.cleanups = t.cleanups[:last]
		f()
	}
}

// A server in memory takes the place of the nsqd that production talks to.
func ExampleServer() {
	t := new(exampleT) // in a test: its *testing.T
	defer t.end()

	srv := nsqxtest.NewServer(t)
	consumer, err := NewBilling(srv.Option())
	if err != nil {
		t.Fatal(err)
	}
	nsqxtest.Run(t, consumer)

	srv.Publish("orders", []byte(`{"ID": 1, "Cents": 500}`), []byte(`{"ID": 2, "Cents": 9900}`))
	srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1 && st.Deferred == 1 })

	fmt.Println("finished", srv.Finished("orders", "billing"))
	for _, r := range srv.Requeues("orders", "billing") {
		fmt.Println("requeued", r.ID, "for", r.Delay)
	}
	// Output:
	// finished [0000000000000001]
	// requeued 0000000000000002 for 1m0s
}

// What a client publishes is received, in the order in which the server got it.
func ExampleReceived() {
	t := new(exampleT)
	defer t.end()

	srv := nsqxtest.NewServer(t)
	consumer, err := NewBilling(srv.Option())
	if err != nil {
		t.Fatal(err)
	}
	nsqxtest.Run(t, consumer)

	srv.Publish("orders", []byte(`{"ID": 3, "Cents": -1}`))
	dead := nsqxtest.Received(t, srv, "orders.dead", codec.JSON[Order](), 1)
	fmt.Printf("%+v\n", dead)
	// Output:
	// [{ID:3 Cents:-1}]
}

// A command can be answered otherwise than nsqd would.
func ExampleServer_On() {
	t := new(exampleT)
	defer t.end()

	srv := nsqxtest.NewServer(t)
	srv.On("SUB", func(c *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
		if c.N() == 1 {
			return nsqxtest.Fail("E_SUB_FAILED too many consumers")
		}
		return nsqxtest.Proceed()
	})
	consumer, err := NewBilling(srv.Option())
	if err != nil {
		t.Fatal(err)
	}
	nsqxtest.Run(t, consumer)

	srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Subscribers == 1 })
	fmt.Println(srv.Dials(), "dials")
	// Output:
	// 2 dials
}

// Run takes care of the end; stop is for a test of that.
func ExampleRun() {
	t := new(exampleT)
	defer t.end()

	srv := nsqxtest.NewServer(t)
	consumer, err := NewBilling(srv.Option())
	if err != nil {
		t.Fatal(err)
	}
	stop := nsqxtest.Run(t, consumer)
	srv.Publish("orders", []byte(`{"ID": 4, "Cents": 500}`))
	srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1 })
	stop()
	fmt.Println(len(srv.Commands("CLS")), "CLS,", len(srv.Conns()), "connections")
	// Output:
	// 1 CLS, 0 connections
}

// Most tests of a consumer need neither a server nor time.
func ExampleDeliver() {
	t := new(exampleT)
	defer t.end()

	consumer, err := NewBilling()
	if err != nil {
		t.Fatal(err)
	}
	first := nsqxtest.Deliver(t, consumer, []byte(`{"ID": 2, "Cents": 9900}`))
	third := nsqxtest.Deliver(t, consumer, []byte(`{"ID": 2, "Cents": 9900}`), nsqxtest.WithAttempts(3))
	fmt.Println(first.Disposition, first.Delay, first.Err)
	fmt.Println(third.Disposition)
	// Output:
	// requeue 1m0s after 1m0s: no credit
	// finish
}

// A handler alone: its context is that of a message.
func ExampleHandle() {
	t := new(exampleT)
	defer t.end()

	greet := func(ctx context.Context, name string) error {
		return fmt.Errorf("hello %s, attempt %d", name, handler.FromContext(ctx).Attempts)
	}
	fmt.Println(nsqxtest.Handle(t, greet, "Ada", nsqxtest.WithAttempts(2)))
	// Output:
	// hello Ada, attempt 2
}

// Middleware takes messages.
func ExampleMessage() {
	touchFirst := func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			if err := m.Touch(); err != nil {
				return err
			}
			return next(ctx, m)
		}
	}
	m := nsqxtest.Message([]byte("x"), nsqxtest.WithTopic("orders", "billing"))
	err := touchFirst(func(_ context.Context, m *handler.Message) error {
		fmt.Printf("%s/%s: %s\n", m.Topic(), m.Channel(), m.Body)
		return nil
	})(m.Context(), m)
	fmt.Println(err, nsqxtest.Touches(m))
	// Output:
	// orders/billing: x
	// <nil> 1
}
