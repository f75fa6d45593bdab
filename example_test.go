package nsqx_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

type Order struct {
	ID    int
	Cents int
}

// A service that bills orders. Cancelling ctx drains it.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nsqd := &pretended{bodies: []string{`{"ID":1,"Cents":700}`, `{"ID":2,"Cents":-3}`, `{"ID":3,"Cents":5}`}, done: cancel}

	c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[Order](),
		func(ctx context.Context, o Order) error {
			if o.Cents < 0 {
				return errors.New("the ledger is closed")
			}
			fmt.Printf("order %d: %d cents, attempt %d\n", o.ID, o.Cents, handler.FromContext(ctx).Attempts)
			return nil
		},
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithConn(nsqd.Config()), // a real service leaves that out, or sets TLS and AUTH here
		nsqx.WithLogger(discard),
		nsqx.WithConcurrency(1),
		nsqx.WithRetry(retry.Exponential(time.Second, 10*time.Minute, retry.WithRandomizationFactor(0))),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Run(ctx); err != nil {
		fmt.Println(err)
	}
	for _, answer := range nsqd.heard {
		fmt.Println("nsqd heard", answer)
	}
	// Output:
	// order 1: 700 cents, attempt 1
	// order 3: 5 cents, attempt 1
	// nsqd heard FIN 1
	// nsqd heard REQ 2 1000
	// nsqd heard FIN 3
}

// All that is wrong is reported at once.
func ExampleNewConsumer_faults() {
	_, err := nsqx.NewConsumer("orders", "billing", codec.JSON[Order](), nil,
		nsqx.WithNSQD("127.0.0.1"),
		nsqx.WithConcurrency(0),
		nsqx.WithMaxAttempts(8),
	)
	fmt.Println(err)

	if fault, ok := errors.AsType[*nsqx.OptionError](err); ok {
		fmt.Println("the first is about", fault.Option)
	}
	// Output:
	// nsqx: WithConcurrency is 0, want 1 to 65536
	// nsqx: handler is nil
	// nsqx: WithNSQD has a faulty address: address 127.0.0.1: want host:port or unix:///path
	// nsqx: WithMaxAttempts needs WithDeadLetter, WithDeadLetterFunc or WithDiscard, which say what becomes of the messages
	// the first is about WithConcurrency
}

// Process is for tests: what would nsqd hear?
func ExampleConsumer_Process() {
	c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[Order](),
		func(ctx context.Context, o Order) error {
			if o.Cents == 0 {
				return retry.Drop(errors.New("nothing to pay"))
			}
			return nil
		},
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(discard),
		nsqx.WithRetry(retry.Schedule(time.Second)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, body := range []string{`{"ID":1,"Cents":700}`, `{"ID":2}`, `{"ID":`} {
		out := c.Process(context.Background(), &handler.Message{Attempts: 1, Body: []byte(body)})
		fmt.Println(out.Disposition, out.Delay, out.Err)
	}
	// Output:
	// finish 0s <nil>
	// drop 0s drop: nothing to pay
	// requeue 1s nsqx: payload does not decode: codec.JSON[nsqx_test.Order]: decode: unexpected end of JSON input
}

var ErrUnknownCustomer = errors.New("unknown customer")

type QuotaError struct{ Wait time.Duration }

func (e *QuotaError) Error() string { return "quota used up" }

// The errors of a domain need not know of NSQ.
func ExampleWithErrors() {
	answers := []error{ErrUnknownCustomer, &QuotaError{Wait: 30 * time.Second}, errors.New("other")}
	next := 0
	c, err := nsqx.NewConsumer("orders", "billing", codec.Bytes(),
		func(context.Context, []byte) error { next++; return fmt.Errorf("bill: %w", answers[next-1]) },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(discard),
		nsqx.WithDiscard(),
		nsqx.WithRetry(retry.Schedule(time.Second)),
		nsqx.WithErrors(retry.Match(
			retry.Is(ErrUnknownCustomer, retry.Permanent),
			retry.As(func(e *QuotaError) error { return retry.After(e.Wait, e) }),
		)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for range answers {
		out := c.Process(context.Background(), &handler.Message{Attempts: 1})
		fmt.Println(out.Disposition, out.Delay)
	}
	// Output:
	// drop 0s
	// requeue 30s
	// requeue 1s
}

// Middleware sees a message before it is decoded, and every error of what is within it.
func ExampleWithMiddleware() {
	count := func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			err := next(ctx, m)
			fmt.Printf("%d bytes: %v\n", len(m.Body), err)
			return err
		}
	}
	c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[Order](),
		func(context.Context, Order) error { panic("out of ink") },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(discard),
		nsqx.WithMiddleware(count),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Process(context.Background(), &handler.Message{Attempts: 1, Body: []byte(`{"ID":1}`)})
	// Output:
	// 8 bytes: nsqx: panic: out of ink
}

func ExampleWithHooks() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nsqd := &pretended{bodies: []string{"hello"}, done: cancel}
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error { return nil },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithConn(nsqd.Config()),
		nsqx.WithLogger(discard),
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
	if err := c.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Unordered output:
	// connected to 127.0.0.1:4150
	// settled: finish
	// disconnected: <nil>
}

// What is given up goes wherever it is safe. Until it is there, the message is not finished.
func ExampleWithDeadLetterFunc() {
	full := errors.New("disk full")
	store := func(_ context.Context, m *handler.Message, err error) error {
		if len(m.Body) > 5 {
			return full
		}
		fmt.Printf("kept %q: %v\n", m.Body, err)
		return nil
	}
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error { return errors.New("no credit") },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(discard),
		nsqx.WithRetry(retry.Schedule(time.Second)),
		nsqx.WithMaxAttempts(3),
		nsqx.WithDeadLetterFunc(store),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range []*handler.Message{{Attempts: 1, Body: []byte("one")}, {Attempts: 3, Body: []byte("three")}, {Attempts: 3, Body: []byte("too long")}} {
		out := c.Process(context.Background(), m)
		fmt.Println(out.Disposition, out.Delay)
	}
	// Output:
	// requeue 1s
	// kept "three": no credit
	// dead_letter 0s
	// requeue 1s
}

// What the consumers of a service share is said once, and they run together.
func ExampleRun() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nsqd := &pretended{}
	var connected atomic.Int32
	shared := nsqx.WithOptions(
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithConn(nsqd.Config()),
		nsqx.WithLogger(discard),
		nsqx.WithHooks(nsqx.Hooks{OnConnect: func(observe.ConnEvent) {
			if connected.Add(1) == 2 {
				cancel() // a real service ends with a signal: see signal.NotifyContext
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
	// nsqx: the consumer runs already, or has run: make a new one
}
