package handler_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// Invoice is the payload.
type Invoice struct {
	ID     int `json:"id"`
	Amount int `json:"amount"`
}

var errNoTenant = errors.New("no tenant")

// send is the handler. The message is in the context.
func send(ctx context.Context, inv Invoice) error {
	m := handler.FromContext(ctx)
	fmt.Printf("invoice %d over %d for %s, attempt %d\n", inv.ID, inv.Amount, m.Header("tenant"), m.Attempts)
	return nil
}

// requireTenant is middleware. It sees each message before it is decoded, and its result after.
func requireTenant(next handler.Raw) handler.Raw {
	return func(ctx context.Context, m *handler.Message) error {
		if m.Header("tenant") == "" {
			return errNoTenant
		}
		return next(ctx, m)
	}
}

// A typed handler with middleware around it, in a consumer. Process plays one message through
// the consumer without an nsqd; a service calls Run.
func Example() {
	consumer, err := nsqx.NewConsumer("invoices", "mail", codec.JSON[Invoice](), send,
		nsqx.WithNSQD("127.0.0.1:4150"),
		nsqx.WithMiddleware(requireTenant),
	)
	if err != nil {
		fmt.Println(err)
		return
	}

	var headers envelope.Writer
	_ = headers.Set("tenant", "acme")
	payload := []byte(`{"id":7,"amount":100}`)
	for _, body := range [][]byte{headers.AppendTo(nil, payload), payload} {
		m := nsqxtest.Message(body, nsqxtest.WithTopic("invoices", "mail"))
		out := consumer.Process(m.Context(), m)
		fmt.Println(out.Disposition, out.Err)
	}
	// Output:
	// invoice 7 over 100 for acme, attempt 1
	// finish <nil>
	// requeue no tenant
}
