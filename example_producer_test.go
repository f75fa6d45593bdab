package nsqx_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
)

type Shipment struct {
	ID     int    `json:"id"`
	Status string `json:"status"`
}

func ExampleNewProducer() {
	nsqd := &pretended{}
	p, err := nsqx.NewProducer("shipments", codec.JSON[Shipment](),
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithConn(nsqd.Config()),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer p.Close()

	switch err := p.Publish(ctx, Shipment{7, "sent"}); {
	case err == nil:
		fmt.Println("nsqd has it")
	case errors.Is(err, nsqx.ErrRejected):
		fmt.Println("it will never work:", err)
	case errors.Is(err, nsqx.ErrNotSent):
		fmt.Println("try again later:", err)
	case errors.Is(err, nsqx.ErrUnconfirmed):
		fmt.Println("nsqd may have it, or not:", err)
	}
	fmt.Println(nsqd.heard[0])
	// Output:
	// nsqd has it
	// PUB shipments: {"id":7,"status":"sent"}
}

func ExampleProducer_PublishAll() {
	nsqd := &pretended{}
	p, err := nsqx.NewProducer("shipments", codec.String(),
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithConn(nsqd.Config()),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer p.Close()

	// An empty body is not taken by nsqd: then nothing is sent.
	n, err := p.PublishAll(ctx, []string{"a", "", "c"})
	fmt.Println(n, "confirmed, rejected:", errors.Is(err, nsqx.ErrRejected))

	n, err = p.PublishAll(ctx, []string{"a"})
	fmt.Println(n, "confirmed,", err)
	// Output:
	// 0 confirmed, rejected: true
	// 1 confirmed, <nil>
}

func ExampleProducer_PublishAsync() {
	nsqd := &pretended{}
	p, err := nsqx.NewProducer("shipments", codec.String(),
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithConn(nsqd.Config()),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer p.Close()

	var mu sync.Mutex
	confirmed := 0
	for i := range 3 {
		err := p.PublishAsync(ctx, fmt.Sprint("shipment ", i), func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				confirmed++
			}
		})
		if err != nil {
			fmt.Println(err)
		}
		if err := p.Flush(ctx); err != nil { // or once, after all of them
			fmt.Println(err)
		}
	}
	fmt.Println(confirmed, "confirmed")
	// Output: 3 confirmed
}

// Producers of several topics share the connections of a publisher, and what is around it.
func ExampleWithPublisher() {
	nsqd := &pretended{}
	log := func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			err := next(ctx, out)
			fmt.Println("published to", out.Topic, err)
			return err
		}
	}
	pub, err := nsqx.NewPublisher(
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithConn(nsqd.Config()),
		nsqx.WithSendMiddleware(log),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer pub.Close()

	shipments, err := nsqx.NewProducer("shipments", codec.JSON[Shipment](), nsqx.WithPublisher(pub))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer shipments.Close()
	mails, err := nsqx.NewProducer("mails", codec.String(), nsqx.WithPublisher(pub))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer mails.Close()

	_ = shipments.Publish(ctx, Shipment{7, "sent"})
	_ = mails.Publish(ctx, "shipment 7 is on its way")
	fmt.Println("connections:", len(pub.Stats().Connections))
	// Output:
	// published to shipments <nil>
	// published to mails <nil>
	// connections: 1
}
