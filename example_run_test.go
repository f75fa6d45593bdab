package nsqx_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

// Consumers of one service share options and run together.
func ExampleRun() {
	nsqd := nsqxtest.NewServer(runT{}) // in memory; a service names its nsqds with WithNSQD or WithLookupd
	defer nsqd.Close()
	ctx, cancel := context.WithCancel(context.Background()) // a service uses signal.NotifyContext
	defer cancel()

	var connected atomic.Int32
	shared := nsqx.WithOptions(
		nsqd.Option(),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithHooks(nsqx.Hooks{OnConnect: func(observe.ConnEvent) {
			if connected.Add(1) == 2 {
				cancel()
			}
		}}),
	)
	bill := func(context.Context, string) error { return nil }
	repay := func(context.Context, string) error { return nil }
	orders, err1 := nsqx.NewConsumer("orders", "billing", codec.String(), bill, shared)
	refunds, err2 := nsqx.NewConsumer("refunds", "billing", codec.String(), repay, shared, nsqx.WithConcurrency(2))
	if err := errors.Join(err1, err2); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(nsqx.Run(ctx, orders, refunds))
	fmt.Println(orders.Run(ctx))
	// Output:
	// <nil>
	// nsqx: the service runs already, or has run: make a new one
}

// The dead letter is published and confirmed before nsqd hears the FIN.
func ExampleWithDeadLetter() {
	nsqd := nsqxtest.NewServer(runT{})
	defer nsqd.Close()
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error { return retry.Permanent(errors.New("unknown customer")) },
		nsqd.Option(),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithDeadLetter("orders.dead"),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()

	nsqd.Publish("orders", []byte("the order of nobody"))
	nsqd.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1 })
	cancel()
	fmt.Println("ended:", <-ended)
	for _, command := range nsqd.Commands("PUB", "FIN") {
		fmt.Println("nsqd heard", command)
	}
	fmt.Println(nsqxtest.Received(runT{}, nsqd, "orders.dead", codec.String(), 1))
	// Output:
	// ended: <nil>
	// nsqd heard PUB orders.dead
	// nsqd heard FIN 0000000000000001
	// [the order of nobody]
}

func ExampleWithHooks() {
	nsqd := nsqxtest.NewServer(runT{})
	defer nsqd.Close()
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error { return nil },
		nsqd.Option(),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithHooks(nsqx.Hooks{
			OnConnect:    func(ev observe.ConnEvent) { fmt.Println("connected to", ev.NSQD) },
			OnDisconnect: func(ev observe.ConnEvent) { fmt.Println("disconnected:", ev.Err) },
			OnSettle:     func(m *handler.Message) { fmt.Println("settled:", m.Outcome().Disposition) },
		}),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()

	nsqd.Publish("orders", []byte("hello"))
	nsqd.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1 })
	cancel()
	fmt.Println("ended:", <-ended)
	// Unordered output:
	// connected to nsqd-1.test:4150
	// settled: finish
	// disconnected: <nil>
	// ended: <nil>
}

// printer is a Telemetry that prints.
type printer struct{ observe.NoTelemetry }

func (printer) Consumer(info observe.ConsumerInfo) handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			err := next(ctx, m)
			fmt.Printf("%s/%s: %v\n", info.Topic, info.Channel, m.Outcome().Disposition)
			return err
		}
	}
}

func (printer) Observe(stats func() nsqx.Stats) (stop func()) {
	return func() { fmt.Println("finished:", stats().Finished) }
}

// Telemetry is outside of everything that decides: it sees the outcome of each message.
func ExampleWithTelemetry() {
	nsqd := nsqxtest.NewServer(runT{})
	defer nsqd.Close()
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(_ context.Context, cents string) error {
			if cents[0] == '-' {
				return errors.New("the ledger is closed")
			}
			return nil
		},
		nsqd.Option(),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithConcurrency(1),
		nsqx.WithRetry(retry.Schedule(time.Minute)),
		nsqx.WithTelemetry(printer{}),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()

	nsqd.Publish("orders", []byte("7.00"), []byte("-3.00"))
	nsqd.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1 && st.Requeued == 1 })
	cancel()
	fmt.Println("ended:", <-ended)
	// Output:
	// orders/billing: finish
	// orders/billing: requeue
	// finished: 1
	// ended: <nil>
}

func ExampleConsumer_Stats() {
	nsqd := nsqxtest.NewServer(runT{})
	defer nsqd.Close()
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(_ context.Context, body string) error {
			if body == "two" {
				return errors.New("try again")
			}
			return nil
		},
		nsqd.Option(),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithConcurrency(4),
		nsqx.WithRetry(retry.Schedule(time.Minute)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()

	nsqd.Publish("orders", []byte("one"), []byte("two"), []byte("three"))
	nsqd.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 2 && st.Requeued == 1 })
	cancel()
	fmt.Println("ended:", <-ended)

	s := c.Stats() // at any time, from any goroutine
	fmt.Printf("%d finished, %d requeued, %d running of %d\n", s.Finished, s.Requeued, s.Running, s.Concurrency)
	for _, conn := range s.Connections {
		fmt.Printf("%s: connected %v, %d received\n", conn.Addr, conn.Connected, conn.Received)
	}
	// Output:
	// ended: <nil>
	// 2 finished, 1 requeued, 0 running of 4
	// nsqd-1.test:4150: connected false, 3 received
}

// The message of a handler that ignores its context is requeued, and the handler is left behind.
func ExampleWithShutdownTimeout() {
	nsqd := nsqxtest.NewServer(runT{})
	defer nsqd.Close()
	requeued := make(chan struct{})
	nsqd.On("REQ", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
		close(requeued)
		return nsqxtest.Proceed()
	})

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error {
			cancel()
			<-requeued
			return nil
		},
		nsqd.Option(),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithShutdownTimeout(0),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	nsqd.Publish("orders", []byte("hello"))
	err = c.Run(ctx)
	if end, ok := errors.AsType[*nsqx.ShutdownError](err); ok {
		for _, m := range end.Abandoned {
			fmt.Printf("message %s, attempt %d: requeued %v\n", m.ID, m.Attempts, m.Requeued)
		}
	}
	fmt.Println("nsqd heard", nsqd.Commands("FIN", "REQ"))
	// Output:
	// message 0000000000000001, attempt 1: requeued true
	// nsqd heard [REQ 0000000000000001 0]
}

// runT replaces the *testing.T of a test, which an example does not have.
type runT struct{ testing.TB }

func (runT) Helper()                           {}
func (runT) Cleanup(func())                    {}
func (runT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (runT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// An HTTP server as a service: requests that are under way have ended before the producers that they
// use are closed.
func ExampleServiceFunc() {
	server := &http.Server{Addr: "127.0.0.1:0", Handler: http.NotFoundHandler()}
	api := nsqx.ServiceFunc(func(ctx context.Context) error {
		down := make(chan error, 1)
		stop := context.AfterFunc(ctx, func() { down <- server.Shutdown(context.WithoutCancel(ctx)) })
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			stop()
			return err
		}
		return <-down
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	fmt.Println(nsqx.Run(ctx, api))
	// Output: <nil>
}
