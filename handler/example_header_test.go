package handler_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// A handler reads headers of its message; the payload comes without them.
func ExampleMessage_Header() {
	bill := func(ctx context.Context, o Order) error {
		m := handler.FromContext(ctx)
		fmt.Println("order", o.ID, "of", m.Header("Tenant"))
		for key, value := range m.Headers() {
			fmt.Println(key, "=", value)
		}
		return nil
	}

	m := newLocalSource(context.Background()).deliver("\xC1\xCE\xD3\xD1\x11\x80\x8D\x86tenant\x80\x84acme" + `{"id":7}`)
	fmt.Println(handler.Typed(jsonOrder{}, bill)(m.Context(), m))
	// Output:
	// order 7 of acme
	// tenant = acme
	// <nil>
}

// RawBody is what came: the headers, and the payload behind them.
func ExampleMessage_RawBody() {
	m := newLocalSource(context.Background()).deliver("\xC1\xCE\xD3\xD1\x11\x80\x8D\x86tenant\x80\x84acmepayload")
	fmt.Printf("%s\n", m.Body)
	fmt.Println(len(m.RawBody()), "bytes")

	headers, _, err := envelope.Split(m.RawBody()) // no copy
	tenant, _ := headers.Get("tenant")
	fmt.Printf("%s %v\n", tenant, err)
	// Output:
	// payload
	// 27 bytes
	// acme <nil>
}

func printHeaders(_ context.Context, out *handler.Outgoing) error {
	for key, value := range out.Headers.All() {
		fmt.Println(out.Topic, key, "=", value)
	}
	return nil
}

// All that is published under the context carries the headers.
func ExampleWithHeader() {
	send := handler.ContextHeaders(printHeaders) // a producer has this step

	ctx := handler.WithHeader(context.Background(), "Tenant", "acme")
	ctx = handler.WithHeader(ctx, "priority", "high")
	if err := send(ctx, &handler.Outgoing{Topic: "invoices"}); err != nil {
		fmt.Println(err)
	}

	err := send(handler.WithHeader(ctx, "note", "two\nlines"), &handler.Outgoing{Topic: "invoices"})
	_, invalid := errors.AsType[*envelope.HeaderError](err)
	fmt.Println(invalid)
	// Output:
	// invoices tenant = acme
	// invoices priority = high
	// true
}

// What a handler publishes carries the tenant of the message that it handles.
func ExampleForward() {
	send := handler.Forward("tenant")(printHeaders)

	m := newLocalSource(context.Background()).deliver("\xC1\xCE\xD3\xD1\x11\x80\x92\x86tenant\x80\x84acme\x81k\x80\x81vpayload")
	handle := func(ctx context.Context, _ *handler.Message) error {
		return send(ctx, &handler.Outgoing{Topic: "invoices"})
	}
	fmt.Println(handle(m.Context(), m))
	// Output:
	// invoices tenant = acme
	// <nil>
}
