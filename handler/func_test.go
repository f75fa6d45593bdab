package handler_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

// trail records which functions were called, in order.
type trail []string

func (tr *trail) add(s string)   { *tr = append(*tr, s) }
func (tr *trail) String() string { return strings.Join(*tr, " ") }

func (tr *trail) middleware(name string) handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		tr.add("build-" + name)
		return func(ctx context.Context, m *handler.Message) error {
			tr.add(name)
			err := next(ctx, m)
			tr.add("/" + name)
			return err
		}
	}
}

func (tr *trail) handler(err error) handler.Raw {
	return func(context.Context, *handler.Message) error {
		tr.add("handler")
		return err
	}
}

func TestChain(t *testing.T) {
	var tr trail
	a, b, c := tr.middleware("a"), tr.middleware("b"), tr.middleware("c")
	for name, x := range map[string]struct {
		mw           handler.Middleware
		build, calls string
	}{
		"nothing":    {handler.Chain(), "", "handler"},
		"only nil":   {handler.Chain(nil, nil), "", "handler"},
		"one":        {handler.Chain(a), "build-a", "a handler /a"},
		"three":      {handler.Chain(a, b, c), "build-c build-b build-a", "a b c handler /c /b /a"},
		"nil within": {handler.Chain(nil, a, nil, c, nil), "build-c build-a", "a c handler /c /a"},
		"of chains":  {handler.Chain(handler.Chain(a, b), handler.Chain(c)), "build-c build-b build-a", "a b c handler /c /b /a"},
	} {
		t.Run(name, func(t *testing.T) {
			tr = nil
			errBusy := errors.New("busy")
			h := x.mw(tr.handler(errBusy))
			check.Want(t, "built", tr.String(), x.build)
			for range 2 {
				tr = nil
				wantErr(t, "answer", h(context.Background(), new(handler.Message)), errBusy)
				check.Want(t, "called", tr.String(), x.calls)
			}
		})
	}
}

// A Chain may serve several consumers.
func TestChainTwice(t *testing.T) {
	var tr trail
	mw := handler.Chain(tr.middleware("a"), tr.middleware("b"))
	first, second := mw(tr.handler(nil)), mw(tr.handler(nil))
	tr = nil
	_ = first(context.Background(), nil)
	_ = second(context.Background(), nil)
	check.Want(t, "called", tr.String(), "a b handler /b /a a b handler /b /a")
}

func TestWrap(t *testing.T) {
	var tr trail
	decorate := func(name string) func(handler.Func[int]) handler.Func[int] {
		return func(next handler.Func[int]) handler.Func[int] {
			return func(ctx context.Context, v int) error {
				tr.add(name)
				return next(ctx, v*10)
			}
		}
	}
	got := 0
	fn := handler.Wrap(func(_ context.Context, v int) error {
		got = v
		return context.Canceled
	}, nil, decorate("a"), nil, decorate("b"))
	wantErr(t, "answer", fn(context.Background(), 7), context.Canceled)
	check.Want(t, "called", tr.String(), "a b")
	check.Want(t, "value", got, 700)

	plain := handler.Wrap(func(context.Context, int) error { return context.Canceled })
	wantErr(t, "nothing around it", plain(context.Background(), 1), context.Canceled)
}

func TestAsync(t *testing.T) {
	errBusy, errLate := errors.New("busy"), errors.New("late")
	for name, c := range map[string]struct {
		fn   func(done func(error))
		want error
	}{
		"success":        {func(done func(error)) { done(nil) }, nil},
		"failure":        {func(done func(error)) { done(errBusy) }, errBusy},
		"twice":          {func(done func(error)) { done(errBusy); done(nil) }, errBusy},
		"success first":  {func(done func(error)) { done(nil); done(errLate) }, nil},
		"in a goroutine": {func(done func(error)) { go done(errBusy) }, errBusy},
	} {
		t.Run(name, func(t *testing.T) {
			var ctxIn context.Context
			fn := handler.Async(func(ctx context.Context, v string, done func(error)) {
				ctxIn = ctx
				check.Want(t, "value", v, "order")
				c.fn(done)
			})
			ctx := newSource(t).message("body").Context()
			check.Want(t, "answer", fn(ctx, "order"), c.want)
			check.Want(t, "context", ctxIn, ctx)
		})
	}
}

// An Async handler does not return before done is called.
func TestAsyncWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn := handler.Async(func(_ context.Context, d time.Duration, done func(error)) {
			time.AfterFunc(d, func() { done(context.DeadlineExceeded) })
		})
		start := time.Now()
		wantErr(t, "answer", fn(context.Background(), 3*time.Hour), context.DeadlineExceeded)
		check.Want(t, "answered after", time.Since(start), 3*time.Hour)
	})
}

// Several concurrent answers and a late one: no call blocks, and one answer counts.
func TestAsyncDoneConcurrently(t *testing.T) {
	for range 100 {
		var late func(error)
		var all sync.WaitGroup
		fn := handler.Async(func(_ context.Context, _ int, done func(error)) {
			late = done
			for range 4 {
				all.Go(func() { done(context.Canceled) })
			}
		})
		check.Want(t, "answer", fn(context.Background(), 1), context.Canceled)
		all.Wait()
		late(nil)
	}
}

func TestAsyncPanic(t *testing.T) {
	for name, answerBefore := range map[string]bool{"without an answer": false, "after its answer": true} {
		t.Run(name, func(t *testing.T) {
			fn := handler.Async(func(_ context.Context, _ int, done func(error)) {
				if answerBefore {
					done(nil)
				}
				panic("boom")
			})
			defer func() { check.Want(t, "panic", recover(), any("boom")) }()
			err := fn(context.Background(), 1)
			t.Errorf("got the answer %v, want the panic", err)
		})
	}
}
