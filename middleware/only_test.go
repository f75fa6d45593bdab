package middleware_test

import (
	"context"
	"testing"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/middleware"
)

func TestOnly(t *testing.T) {
	built, applied, asked, handled := 0, 0, 0, 0
	mw := func(next handler.Raw) handler.Raw {
		built++
		return func(ctx context.Context, m *handler.Message) error {
			applied++
			return next(ctx, m)
		}
	}
	large := func(m *handler.Message) bool {
		asked++
		return len(m.Body) > 3
	}
	h := middleware.Only(large, mw)(func(context.Context, *handler.Message) error {
		handled++
		return errBusy
	})
	check.Want(t, "built", built, 1)

	s := newSource(t)
	for _, body := range []string{"small body", "tiny", "abc", "", "large"} {
		m := s.message(body)
		check.Want(t, "answer", h(m.Context(), m), errBusy)
	}
	check.Want(t, "built", built, 1)
	check.Want(t, "asked", asked, 5)
	check.Want(t, "applied", applied, 3)
	check.Want(t, "handled", handled, 5)
}

func TestOnlyOfNil(t *testing.T) {
	applied := 0
	mw := func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			applied++
			return next(ctx, m)
		}
	}
	always := func(*handler.Message) bool { return true }
	m := newSource(t).message("body")
	check.Want(t, "nil match", run(m, middleware.Only(nil, mw), answer(errBusy)), errBusy)
	check.Want(t, "applied", applied, 1)
	check.Want(t, "nil middleware", run(m, middleware.Only(always, nil), answer(errBusy)), errBusy)
	check.Want(t, "nil both", run(m, middleware.Only(nil, nil), answer(errBusy)), errBusy)
	check.Want(t, "applied", applied, 1)
}

func TestOnlyAllocatesNothing(t *testing.T) {
	m := newSource(t).message("body")
	ctx := m.Context()
	for _, match := range []bool{true, false} {
		h := middleware.Only(func(*handler.Message) bool { return match }, middleware.Recover())(answer(nil))
		wantNoAllocs(t, "Only", func() { _ = h(ctx, m) })
	}
}
