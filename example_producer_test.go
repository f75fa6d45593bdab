package nsqx_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

type Shipment struct {
	ID     int    `json:"id"`
	Status string `json:"status"`
}

func ExampleNewProducer() {
	nsqd := nsqxtest.NewServer(producerT{}) // in memory; a service names its nsqds with WithNSQD or WithLookupd
	defer nsqd.Close()
	p, err := nsqx.NewProducer("shipments", codec.JSON[Shipment](),
		nsqd.Option(),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

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
	for _, m := range nsqd.Published("shipments") {
		fmt.Printf("%s\n", m.Body)
	}
	// Output:
	// nsqd has it
	// {"id":7,"status":"sent"}
}

func ExampleProducer_PublishAll() {
	nsqd := nsqxtest.NewServer(producerT{})
	defer nsqd.Close()
	p, err := nsqx.NewProducer("shipments", codec.String(),
		nsqd.Option(),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// nsqd refuses an empty body, so nothing is sent.
	n, err := p.PublishAll(ctx, []string{"a", "", "c"})
	fmt.Println(n, "confirmed, rejected:", errors.Is(err, nsqx.ErrRejected))

	n, err = p.PublishAll(ctx, []string{"a", "b"})
	fmt.Println(n, "confirmed,", err)
	fmt.Println("nsqd heard", nsqd.Commands("PUB", "MPUB"))
	// Output:
	// 0 confirmed, rejected: true
	// 2 confirmed, <nil>
	// nsqd heard [MPUB shipments]
}

func ExampleProducer_PublishAsync() {
	nsqd := nsqxtest.NewServer(producerT{})
	defer nsqd.Close()
	p, err := nsqx.NewProducer("shipments", codec.String(),
		nsqd.Option(),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

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
	}
	if err := p.Flush(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println(confirmed, "confirmed")
	// Output: 3 confirmed
}

// Header sets a header of one publish, handler.WithHeader those of all publishes under a ctx.
func ExampleHeader() {
	nsqd := nsqxtest.NewServer(producerT{})
	defer nsqd.Close()
	p, err := nsqx.NewProducer("shipments", codec.String(),
		nsqd.Option(),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
		nsqx.WithEnvelope(),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	ctx = handler.WithHeader(ctx, "tenant", "acme")
	if err := p.Publish(ctx, "shipment 7", nsqx.Header("priority", "high")); err != nil {
		fmt.Println(err)
	}
	for _, m := range nsqd.Published("shipments") {
		headers, payload, err := envelope.Split(m.Body) // nsqx consumers do this before they decode
		fmt.Printf("%s, %v\n", payload, err)
		for _, key := range []string{"tenant", "priority"} { // beside an id and the time
			value, _ := headers.Get(key)
			fmt.Printf("%s: %s\n", key, value)
		}
	}
	// Output:
	// shipment 7, <nil>
	// tenant: acme
	// priority: high
}

// Producers of several topics share the connections and the middleware of a publisher.
func ExampleWithPublisher() {
	nsqd := nsqxtest.NewServer(producerT{})
	defer nsqd.Close()
	log := func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			err := next(ctx, out)
			fmt.Println("published to", out.Topic, err)
			return err
		}
	}
	pub, err := nsqx.NewPublisher(
		nsqd.Option(),
		nsqx.WithSendMiddleware(log),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pub.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

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

// producerT replaces the *testing.T of a test, which an example does not have.
type producerT struct{ testing.TB }

func (producerT) Helper()                           {}
func (producerT) Cleanup(func())                    {}
func (producerT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (producerT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
