package handler_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// sent publishes out under ctx through mw and returns its headers.
func sent(t *testing.T, ctx context.Context, out *handler.Outgoing, mw ...handler.SendMiddleware) string {
	t.Helper()
	calls := 0
	send := handler.ChainSend(mw...)(func(got context.Context, o *handler.Outgoing) error {
		calls++
		check.Want(t, "context", got, ctx)
		check.Want(t, "Outgoing", o, out)
		return nil
	})
	wantErr(t, "Send", send(ctx, out), nil)
	check.Want(t, "calls", calls, 1)
	return list(out.Headers.All())
}

func TestWithHeader(t *testing.T) {
	ctx := t.Context()
	check.Want(t, "none", sent(t, ctx, new(handler.Outgoing), handler.ContextHeaders), "")

	one := handler.WithHeader(ctx, "Tenant", "acme")
	two := handler.WithHeader(one, "b", "2")
	three := handler.WithHeader(two, "tenant", "other")
	branch := handler.WithHeader(one, "c", "3")
	check.Want(t, "one", sent(t, one, new(handler.Outgoing), handler.ContextHeaders), "tenant=acme")
	check.Want(t, "two", sent(t, two, new(handler.Outgoing), handler.ContextHeaders), "tenant=acme b=2")
	check.Want(t, "the later one counts", sent(t, three, new(handler.Outgoing), handler.ContextHeaders), "tenant=other b=2")
	check.Want(t, "another branch", sent(t, branch, new(handler.Outgoing), handler.ContextHeaders), "tenant=acme c=3")

	out := new(handler.Outgoing)
	wantErr(t, "Set", out.Headers.Set("b", "1"), nil)
	check.Want(t, "one that is set before is replaced", sent(t, two, out, handler.ContextHeaders), "b=2 tenant=acme")
	check.Want(t, "a second attempt", sent(t, two, out, handler.ContextHeaders), "b=2 tenant=acme")
}

func TestInvalidWithHeader(t *testing.T) {
	send := handler.ContextHeaders(func(context.Context, *handler.Outgoing) error {
		t.Error("it was sent")
		return nil
	})
	for name, c := range map[string]struct {
		key, value string
		err        error
	}{
		"key":   {"a key", "1", envelope.ErrKey},
		"value": {"key", "two\nlines", envelope.ErrValue},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := handler.WithHeader(handler.WithHeader(t.Context(), c.key, c.value), "good", "1")
			err := send(ctx, new(handler.Outgoing))
			var he *envelope.HeaderError
			if !errors.As(err, &he) || he.Key != c.key {
				t.Fatalf("got %v, want a HeaderError of the key", err)
			}
			wantErr(t, "kind", err, c.err)
		})
	}
}

func TestForward(t *testing.T) {
	m := newSource(t).message(withHeaders(t, "42", "Tenant", "acme", "a", "1", "empty", ""))
	forward := handler.Forward("tenant", "A", "empty", "nobody", "a key")
	check.Want(t, "in a handler", sent(t, m.Context(), new(handler.Outgoing), forward), "tenant=acme a=1 empty=")

	out := new(handler.Outgoing)
	wantErr(t, "Set", out.Headers.Set("a", "2"), nil)
	check.Want(t, "one that is set before stays", sent(t, m.Context(), out, forward), "a=2 tenant=acme empty=")

	ctx := handler.WithHeader(m.Context(), "a", "3")
	check.Want(t, "WithHeader outside", sent(t, ctx, new(handler.Outgoing), handler.ContextHeaders, forward), "a=3 tenant=acme empty=")
	check.Want(t, "WithHeader inside", sent(t, ctx, new(handler.Outgoing), forward, handler.ContextHeaders), "tenant=acme a=3 empty=")

	check.Want(t, "outside a handler", sent(t, t.Context(), new(handler.Outgoing), forward), "")
	check.Want(t, "of nil", sent(t, handler.NewContext(t.Context(), nil), new(handler.Outgoing), forward), "")
	check.Want(t, "of a plain message", sent(t, newSource(t).message("42").Context(), new(handler.Outgoing), forward), "")
	check.Want(t, "no keys", sent(t, m.Context(), new(handler.Outgoing), handler.Forward()), "")
	derived := handler.NewContext(t.Context(), m.WithBody([]byte("x")))
	check.Want(t, "of a message with another body", sent(t, derived, new(handler.Outgoing), handler.Forward("a")), "a=1")

	delivery(m).Release()
	check.Want(t, "after the message is settled", sent(t, m.Context(), new(handler.Outgoing), forward), "")
}

func TestPublishWithoutHeadersAllocatesNothing(t *testing.T) {
	m := newSource(t).message("42")
	send := handler.ChainSend(handler.ContextHeaders, handler.Forward("tenant"))(func(context.Context, *handler.Outgoing) error { return nil })
	out := new(handler.Outgoing)
	for what, ctx := range map[string]context.Context{"outside a handler": t.Context(), "in a handler": m.Context()} {
		wantAllocs(t, what, 0, func() { _ = send(ctx, out) })
	}
}
