package handler_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

func (tr *trail) batchMiddleware(name string) handler.BatchMiddleware {
	return func(next handler.RawBatch) handler.RawBatch {
		tr.add("build-" + name)
		return func(ctx context.Context, msgs []*handler.Message) error {
			tr.add(name)
			err := next(ctx, msgs)
			tr.add("/" + name)
			return err
		}
	}
}

func TestChainBatch(t *testing.T) {
	var tr trail
	a, b, c := tr.batchMiddleware("a"), tr.batchMiddleware("b"), tr.batchMiddleware("c")
	for name, x := range map[string]struct {
		mw           handler.BatchMiddleware
		build, calls string
	}{
		"nothing":    {handler.ChainBatch(), "", "handler"},
		"only nil":   {handler.ChainBatch(nil, nil), "", "handler"},
		"one":        {handler.ChainBatch(a), "build-a", "a handler /a"},
		"three":      {handler.ChainBatch(a, b, c), "build-c build-b build-a", "a b c handler /c /b /a"},
		"nil within": {handler.ChainBatch(nil, a, nil, c, nil), "build-c build-a", "a c handler /c /a"},
		"of chains":  {handler.ChainBatch(handler.ChainBatch(a, b), handler.ChainBatch(c)), "build-c build-b build-a", "a b c handler /c /b /a"},
	} {
		t.Run(name, func(t *testing.T) {
			tr = nil
			s := newSource(t)
			batch := []*handler.Message{s.message("first"), s.message("second")}
			h := x.mw(func(ctx context.Context, msgs []*handler.Message) error {
				tr.add("handler")
				check.Want(t, "context", ctx, t.Context())
				check.Want(t, "messages", len(msgs), 2)
				check.Want(t, "first", msgs[0], batch[0])
				check.Want(t, "second", msgs[1], batch[1])
				return context.Canceled
			})
			check.Want(t, "built", tr.String(), x.build)
			for range 2 {
				tr = nil
				check.Want(t, "answer", h(t.Context(), batch), context.Canceled)
				check.Want(t, "called", tr.String(), x.calls)
			}
		})
	}
}

// A middleware may pass on a part of the batch.
func TestBatchMiddlewarePassesOnAPart(t *testing.T) {
	s := newSource(t)
	first, second := s.message("first"), s.message("second")
	skipFirst := func(next handler.RawBatch) handler.RawBatch {
		return func(ctx context.Context, msgs []*handler.Message) error { return next(ctx, msgs[1:]) }
	}
	h := handler.ChainBatch(skipFirst)(func(_ context.Context, msgs []*handler.Message) error {
		check.Want(t, "messages", len(msgs), 1)
		check.Want(t, "message", msgs[0], second)
		return nil
	})
	check.Want(t, "answer", h(t.Context(), []*handler.Message{first, second}), nil)
}

func TestChainBatchAllocatesNothing(t *testing.T) {
	pass := func(next handler.RawBatch) handler.RawBatch {
		return func(ctx context.Context, msgs []*handler.Message) error { return next(ctx, msgs) }
	}
	h := handler.ChainBatch(pass, pass)(func(context.Context, []*handler.Message) error { return nil })
	ctx, batch := t.Context(), []*handler.Message{newSource(t).message("body")}
	wantAllocs(t, "a batch", 0, func() { _ = h(ctx, batch) })
}

// What is no message, from middleware, fails the batch and nothing else.
func TestTypedBatchWithoutMessage(t *testing.T) {
	h := handler.TypedBatch(codec.String(), func(context.Context, *handler.Batch[string]) error {
		t.Error("called")
		return nil
	})
	err := h(t.Context(), []*handler.Message{newSource(t).message("first"), nil})
	if _, ok := errors.AsType[*handler.PanicError](err); !ok {
		t.Errorf("error %v, want a PanicError", err)
	}
}
