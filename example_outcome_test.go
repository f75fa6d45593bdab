package nsqx_test

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

// All faults are reported together.
func ExampleNewConsumer_faults() {
	_, err := nsqx.NewConsumer("orders", "billing", codec.String(), nil,
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

type Payment struct {
	ID    int
	Cents int
}

// Process is for tests: what would nsqd hear?
func ExampleConsumer_Process() {
	c, err := nsqx.NewConsumer("payments", "billing", codec.JSON[Payment](),
		func(ctx context.Context, p Payment) error {
			if p.Cents == 0 {
				return retry.Drop(errors.New("nothing to pay"))
			}
			return nil
		},
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithRetry(retry.Schedule(time.Second)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, body := range []string{`{"ID":1,"Cents":700}`, `{"ID":2}`, `{"ID":`} {
		m := nsqxtest.Message([]byte(body))
		out := c.Process(m.Context(), m)
		fmt.Println(out.Disposition, out.Delay, out.Err)
	}
	// Output:
	// finish 0s <nil>
	// drop 0s drop: nothing to pay
	// requeue 1s nsqx: payload does not decode: codec.JSON[nsqx_test.Payment]: decode: unexpected end of JSON input
}

var ErrUnknownCustomer = errors.New("unknown customer")

type QuotaError struct{ Wait time.Duration }

func (e *QuotaError) Error() string { return "quota used up" }

// The errors of a domain need not know NSQ.
func ExampleWithErrors() {
	answers := []error{ErrUnknownCustomer, &QuotaError{Wait: 30 * time.Second}, errors.New("other")}
	next := 0
	c, err := nsqx.NewConsumer("orders", "billing", codec.Bytes(),
		func(context.Context, []byte) error { next++; return fmt.Errorf("bill: %w", answers[next-1]) },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
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
		m := nsqxtest.Message(nil)
		out := c.Process(m.Context(), m)
		fmt.Println(out.Disposition, out.Delay)
	}
	// Output:
	// drop 0s
	// requeue 30s
	// requeue 1s
}

// Middleware sees a message before it is decoded, and the error of everything inside it.
func ExampleWithMiddleware() {
	count := func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			err := next(ctx, m)
			fmt.Printf("%d bytes: %v\n", len(m.Body), err)
			return err
		}
	}
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error { panic("out of ink") },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithMiddleware(count),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	m := nsqxtest.Message([]byte("order 7!"))
	c.Process(m.Context(), m)
	// Output:
	// 8 bytes: nsqx: panic: out of ink
}

// A message is finished only after the function has stored it.
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
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithRetry(retry.Schedule(time.Second)),
		nsqx.WithMaxAttempts(3),
		nsqx.WithDeadLetterFunc(store),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range []*handler.Message{
		nsqxtest.Message([]byte("one")),
		nsqxtest.Message([]byte("three"), nsqxtest.WithAttempts(3)),
		nsqxtest.Message([]byte("too long"), nsqxtest.WithAttempts(3)),
	} {
		out := c.Process(m.Context(), m)
		fmt.Println(out.Disposition, out.Delay)
	}
	// Output:
	// requeue 1s
	// kept "three": no credit
	// dead_letter 0s
	// requeue 1s
}

// The third attempt is the last one that may fail.
func ExampleWithMaxAttempts() {
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error { return errors.New("no credit") },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithRetry(retry.Schedule(time.Second)),
		nsqx.WithMaxAttempts(3),
		nsqx.WithDiscard(),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for attempt := range uint16(3) {
		m := nsqxtest.Message(nil, nsqxtest.WithAttempts(attempt+1))
		fmt.Println(c.Process(m.Context(), m).Disposition)
	}
	// Output:
	// requeue
	// requeue
	// drop
}

// An offer is valid for an hour. Until then it is tried again, any number of times.
func ExampleWithMaxAge() {
	c, err := nsqx.NewConsumer("offers", "mail", codec.String(),
		func(context.Context, string) error { return errors.New("the mail server is away") },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithRetry(retry.Schedule(time.Second)),
		nsqx.WithMaxAge(time.Hour),
		nsqx.WithDiscard(),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, age := range []time.Duration{time.Minute, 2 * time.Hour} {
		m := nsqxtest.Message(nil, nsqxtest.WithAttempts(9), nsqxtest.WithTimestamp(time.Now().Add(-age)))
		fmt.Println(age, c.Process(m.Context(), m).Disposition)
	}
	// Output:
	// 1m0s requeue
	// 2h0m0s drop
}

// The options that all consumers of a service share, in one place.
func ExampleWithConsumerOptions() {
	shared := nsqx.WithConsumerOptions(
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithConcurrency(16),
		nsqx.WithMaxInFlight(32),
	)
	store := func(context.Context, string) error { return nil }
	for _, topic := range []string{"orders", "refunds"} {
		c, err := nsqx.NewConsumer(topic, "archive", codec.String(), store, shared)
		if err != nil {
			fmt.Println(err)
			return
		}
		s := c.Stats()
		fmt.Println(s.Topic, s.Concurrency, s.MaxInFlight)
	}
	// Giving an option twice is an error, also inside a bundle.
	_, err := nsqx.NewConsumer("orders", "archive", codec.String(), store, shared, nsqx.WithConcurrency(1))
	fmt.Println(err)
	// Output:
	// orders 16 32
	// refunds 16 32
	// nsqx: WithConcurrency is given twice
}
