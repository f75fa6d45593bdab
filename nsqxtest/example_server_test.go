package nsqxtest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// The server replaces the nsqd of production.
func ExampleServer() {
	t := new(exampleT) // in a test: its *testing.T
	defer t.end()

	srv := nsqxtest.NewServer(t)
	consumer, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(_ context.Context, order string) error {
			if order == "large" {
				return retry.After(time.Minute, errors.New("no credit"))
			}
			return nil
		},
		nsqx.WithNSQD("nsqd.prod:4150"),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		srv.Option(), // replaces nsqd.prod
	)
	if err != nil {
		t.Fatal(err)
	}
	nsqxtest.Run(t, consumer)

	srv.Publish("orders", []byte("small"), []byte("large"))
	srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool {
		return st.Finished == 1 && st.Deferred == 1
	})

	fmt.Println("finished", srv.Finished("orders", "billing"))
	for _, r := range srv.Requeues("orders", "billing") {
		fmt.Println("requeued", r.ID, "for", r.Delay)
	}
	// Output:
	// finished [0000000000000001]
	// requeued 0000000000000002 for 1m0s
}

// Received waits for what a client publishes, here a dead letter.
func ExampleReceived() {
	t := new(exampleT) // in a test: its *testing.T
	defer t.end()

	srv := nsqxtest.NewServer(t)
	consumer, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error { return retry.Permanent(errors.New("no credit")) },
		nsqx.WithDeadLetter("orders.dead"),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		srv.Option(),
	)
	if err != nil {
		t.Fatal(err)
	}
	nsqxtest.Run(t, consumer)

	srv.Publish("orders", []byte("large"))
	fmt.Println(nsqxtest.Received(t, srv, "orders.dead", codec.String(), 1))
	// Output:
	// [large]
}

// A hook answers a command with an error, as an nsqd with too many consumers does.
func ExampleServer_On() {
	t := new(exampleT) // in a test: its *testing.T
	defer t.end()

	srv := nsqxtest.NewServer(t)
	srv.On("SUB", func(c *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
		if c.N() == 1 {
			return nsqxtest.Fail("E_SUB_FAILED too many consumers")
		}
		return nsqxtest.Proceed()
	})
	consumer, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error { return nil },
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		srv.Option(),
	)
	if err != nil {
		t.Fatal(err)
	}
	nsqxtest.Run(t, consumer)

	srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Subscribers == 1 })
	fmt.Println(srv.Dials(), "dials")
	// Output:
	// 2 dials
}

// The end of the test stops the consumer. A test of the shutdown itself calls stop.
func ExampleRun() {
	t := new(exampleT) // in a test: its *testing.T
	defer t.end()

	srv := nsqxtest.NewServer(t)
	consumer, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error { return nil },
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		srv.Option(),
	)
	if err != nil {
		t.Fatal(err)
	}
	stop := nsqxtest.Run(t, consumer)
	srv.Publish("orders", []byte("small"))
	srv.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1 })
	stop()
	fmt.Println(len(srv.Commands("CLS")), "CLS,", len(srv.Conns()), "connections")
	// Output:
	// 1 CLS, 0 connections
}

// Most tests of a consumer need neither a server nor time.
func ExampleDeliver() {
	t := new(exampleT) // in a test: its *testing.T
	defer t.end()

	consumer, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(ctx context.Context, _ string) error {
			if handler.FromContext(ctx).Attempts < 3 {
				return retry.After(time.Minute, errors.New("no credit"))
			}
			return nil
		},
		nsqx.WithNSQD("nsqd.prod:4150"),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		t.Fatal(err)
	}
	first := nsqxtest.Deliver(t, consumer, []byte("large"))
	third := nsqxtest.Deliver(t, consumer, []byte("large"), nsqxtest.WithAttempts(3))
	fmt.Println(first.Disposition, first.Delay, first.Err)
	fmt.Println(third.Disposition)
	// Output:
	// requeue 1m0s after 1m0s: no credit
	// finish
}

// Handle calls a handler without a consumer, with the context of a message.
func ExampleHandle() {
	t := new(exampleT) // in a test: its *testing.T
	defer t.end()

	greet := func(ctx context.Context, name string) error {
		return fmt.Errorf("hello %s, attempt %d", name, handler.FromContext(ctx).Attempts)
	}
	fmt.Println(nsqxtest.Handle(t, greet, "Ada", nsqxtest.WithAttempts(2)))
	// Output:
	// hello Ada, attempt 2
}

// Message makes a message for the test of a middleware.
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
