package nsqx_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// The dead letter is published, and confirmed, before nsqd hears the FIN.
func ExampleWithDeadLetter() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nsqd := &pretended{bodies: []string{"the order of nobody"}, done: cancel}
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error { return retry.Permanent(errors.New("unknown customer")) },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithConn(nsqd.Config()),
		nsqx.WithLogger(discard),
		nsqx.WithDeadLetter("orders.dead"),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Run(ctx); err != nil {
		fmt.Println(err)
	}
	for _, command := range nsqd.heard {
		fmt.Println("nsqd heard", command)
	}
	// Output:
	// nsqd heard PUB orders.dead: the order of nobody
	// nsqd heard FIN 1
}

// The last attempt that may fail is the third.
func ExampleWithMaxAttempts() {
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error { return errors.New("no credit") },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(discard),
		nsqx.WithRetry(retry.Schedule(time.Second)),
		nsqx.WithMaxAttempts(3),
		nsqx.WithDiscard(),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for attempt := range uint16(3) {
		fmt.Println(c.Process(context.Background(), &handler.Message{Attempts: attempt + 1}).Disposition)
	}
	// Output:
	// requeue
	// requeue
	// drop
}

// An offer is good for an hour: until then it is tried again, however often.
func ExampleWithMaxAge() {
	c, err := nsqx.NewConsumer("offers", "mail", codec.String(),
		func(context.Context, string) error { return errors.New("the mail server is away") },
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(discard),
		nsqx.WithRetry(retry.Schedule(time.Second)),
		nsqx.WithMaxAge(time.Hour),
		nsqx.WithDiscard(),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, age := range []time.Duration{time.Minute, 2 * time.Hour} {
		var m handler.Message
		(*handler.Delivery)(&m).Init(nil, handler.ID{}, 9, time.Now().Add(-age).UnixNano(), nil)
		fmt.Println(age, c.Process(context.Background(), &m).Disposition)
	}
	// Output:
	// 1m0s requeue
	// 2h0m0s drop
}

// What all consumers of a service have in common, in one place.
func ExampleWithConsumerOptions() {
	house := nsqx.WithConsumerOptions(
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithLogger(discard),
		nsqx.WithConcurrency(16),
		nsqx.WithMaxInFlight(32),
	)
	store := func(context.Context, string) error { return nil }
	for _, topic := range []string{"orders", "refunds"} {
		c, err := nsqx.NewConsumer(topic, "archive", codec.String(), store, house)
		if err != nil {
			fmt.Println(err)
			return
		}
		s := c.Stats()
		fmt.Println(s.Topic, s.Concurrency, s.MaxInFlight)
	}
	// An option that is given twice is a fault, also if the first is in a bundle.
	_, err := nsqx.NewConsumer("orders", "archive", codec.String(), store, house, nsqx.WithConcurrency(1))
	fmt.Println(err)
	// Output:
	// orders 16 32
	// refunds 16 32
	// nsqx: WithConcurrency is given twice
}

// spectator is a Telemetry that prints.
type spectator struct{}

func (spectator) Consumer(info nsqx.ConsumerInfo) handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			err := next(ctx, m)
			fmt.Printf("%s/%s: %v\n", info.Topic, info.Channel, m.Outcome().Disposition)
			return err
		}
	}
}

func (spectator) Producer(nsqx.ProducerInfo) handler.SendMiddleware { return nil }

func (spectator) Observe(stats func() nsqx.Stats) (stop func()) {
	return func() { fmt.Println("finished:", stats().Finished) }
}

// Telemetry stands outside of all that decides: it sees what nsqd has heard.
func ExampleWithTelemetry() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nsqd := &pretended{bodies: []string{"7.00", "-3.00"}, done: cancel}
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(_ context.Context, cents string) error {
			if cents[0] == '-' {
				return errors.New("the ledger is closed")
			}
			return nil
		},
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithConn(nsqd.Config()),
		nsqx.WithLogger(discard),
		nsqx.WithConcurrency(1),
		nsqx.WithTelemetry(spectator{}),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// orders/billing: finish
	// orders/billing: requeue
	// finished: 1
}

func ExampleConsumer_Stats() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nsqd := &pretended{bodies: []string{"one", "two", "three"}, done: cancel}
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(_ context.Context, body string) error {
			if body == "two" {
				return errors.New("try again")
			}
			return nil
		},
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithConn(nsqd.Config()),
		nsqx.WithLogger(discard),
		nsqx.WithConcurrency(4),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Run(ctx); err != nil {
		fmt.Println(err)
	}
	s := c.Stats() // at any time, from any goroutine
	fmt.Printf("%d finished, %d requeued, %d running of %d\n", s.Finished, s.Requeued, s.Running, s.Concurrency)
	for _, l := range s.Connections {
		fmt.Printf("%s: connected %v, %d received\n", l.Addr, l.Connected, l.Received)
	}
	// Output:
	// 2 finished, 1 requeued, 0 running of 4
	// 127.0.0.1:4150: connected false, 3 received
}

// A handler that heeds no context is left behind, and its message given back.
func ExampleWithShutdownTimeout() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	givenBack := make(chan struct{})
	nsqd := &pretended{bodies: []string{"hello"}, done: func() { close(givenBack) }}
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(),
		func(context.Context, string) error {
			cancel()
			<-givenBack
			return nil
		},
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithConn(nsqd.Config()),
		nsqx.WithLogger(discard),
		nsqx.WithShutdownTimeout(0),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = c.Run(ctx)
	if end, ok := errors.AsType[*nsqx.ShutdownError](err); ok {
		for _, m := range end.Abandoned {
			fmt.Printf("message %s, attempt %d: requeued %v\n", m.ID, m.Attempts, m.Requeued)
		}
	}
	fmt.Println("nsqd heard", nsqd.heard)
	// Output:
	// message 0000000000000001, attempt 1: requeued true
	// nsqd heard [REQ 1 0]
}
