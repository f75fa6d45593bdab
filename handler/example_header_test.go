package handler_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// A handler reads headers from its message. The payload arrives without them.
func ExampleMessage_Header() {
	bill := func(ctx context.Context, order string) error {
		m := handler.FromContext(ctx)
		fmt.Println(order, "of", m.Header("Tenant"))
		for key, value := range m.Headers() {
			fmt.Println(key, "=", value)
		}
		return nil
	}

	var w envelope.Writer
	_ = w.Set("tenant", "acme")
	m := nsqxtest.Message(w.AppendTo(nil, []byte("order 7")))
	fmt.Println(handler.Typed(codec.String(), bill)(m.Context(), m))
	// Output:
	// order 7 of acme
	// tenant = acme
	// <nil>
}

// RawBody is the body as it was received: the headers, and the payload behind them.
func ExampleMessage_RawBody() {
	m := nsqxtest.Message([]byte("\xC1\xCE\xD3\xD1\x11\x80\x8D\x86tenant\x80\x84acmepayload"))
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

// Everything that is published under the context carries the headers.
func ExampleWithHeader() {
	publish := func(_ context.Context, out *handler.Outgoing) error {
		for key, value := range out.Headers.All() {
			fmt.Println(out.Topic, key, "=", value)
		}
		return nil
	}
	send := handler.ContextHeaders(publish) // a producer does this

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

// A handler publishes with the tenant of the message that it handles.
func ExampleForward() {
	publish := func(_ context.Context, out *handler.Outgoing) error {
		tenant, _ := out.Headers.Get("tenant")
		fmt.Println(out.Topic, "of", tenant)
		return nil
	}
	send := handler.Forward("tenant")(publish)

	var w envelope.Writer
	_ = w.Set("tenant", "acme")
	_ = w.Set("k", "v")
	m := nsqxtest.Message(w.AppendTo(nil, []byte("payload")))
	handle := func(ctx context.Context, _ *handler.Message) error {
		return send(ctx, &handler.Outgoing{Topic: "invoices"})
	}
	fmt.Println(handle(m.Context(), m))
	// Output:
	// invoices of acme
	// <nil>
}

// Each message of a publish may have headers of its own, beside the common ones.
func ExampleOutgoing() {
	out := &handler.Outgoing{
		Topic:    "invoices",
		Envelope: true,
		Messages: []handler.OutgoingMessage{{Body: []byte("first")}, {Body: []byte("second")}},
	}
	_ = out.Headers.Set("tenant", "acme")
	_ = out.Messages[1].Headers.Set("tenant", "other")

	// publisher.Send(ctx, out) publishes them. Middleware sees them before:
	for i := range out.Messages {
		m := &out.Messages[i]
		tenant, own := m.Headers.Get("tenant")
		if !own {
			tenant, _ = out.Headers.Get("tenant")
		}
		fmt.Printf("%s: %s\n", m.Body, tenant)
	}
	// Output:
	// first: acme
	// second: other
}
