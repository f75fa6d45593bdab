package handler_test

import (
	"context"
	"testing"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

func (tr *trail) sendMiddleware(name string) handler.SendMiddleware {
	return func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			tr.add(name)
			err := next(ctx, out)
			tr.add("/" + name)
			return err
		}
	}
}

func TestChainSend(t *testing.T) {
	var tr trail
	a, b := tr.sendMiddleware("a"), tr.sendMiddleware("b")
	out := &handler.Outgoing{Topic: "orders", Messages: []handler.OutgoingMessage{{Body: []byte("x")}}}
	for name, x := range map[string]struct {
		mw    handler.SendMiddleware
		calls string
	}{
		"nothing":    {handler.ChainSend(), "send"},
		"only nil":   {handler.ChainSend(nil, nil), "send"},
		"two":        {handler.ChainSend(a, b), "a b send /b /a"},
		"nil within": {handler.ChainSend(nil, a, nil, b, nil), "a b send /b /a"},
		"of chains":  {handler.ChainSend(handler.ChainSend(a), handler.ChainSend(b)), "a b send /b /a"},
	} {
		t.Run(name, func(t *testing.T) {
			tr = nil
			send := x.mw(func(ctx context.Context, got *handler.Outgoing) error {
				tr.add("send")
				check.Want(t, "Outgoing", got, out)
				return context.Canceled
			})
			check.Want(t, "result", send(t.Context(), out), context.Canceled)
			check.Want(t, "called", tr.String(), x.calls)
		})
	}
}

// Headers of a message are its own: those of the publish and of other messages stay as they are.
func TestOutgoingMessageHeaders(t *testing.T) {
	out := &handler.Outgoing{Messages: make([]handler.OutgoingMessage, 2)}
	wantErr(t, "Set", out.Headers.Set("a", "1"), nil)
	wantErr(t, "Set", out.Messages[0].Headers.Set("a", "2"), nil)
	check.Want(t, "common", list(out.Headers.All()), "a=1")
	check.Want(t, "first", list(out.Messages[0].Headers.All()), "a=2")
	check.Want(t, "second", list(out.Messages[1].Headers.All()), "")
}
