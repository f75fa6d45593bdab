package middleware_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/middleware"
)

// toucher is a source that records calls of KeepTouched and stop.
type toucher struct {
	*source
	kept, stopped []*handler.Delivery
	stop          func() // if set, KeepTouched returns it
}

func (s *toucher) KeepTouched(d *handler.Delivery) (stop func()) {
	if s.stop != nil {
		return s.stop
	}
	s.kept = append(s.kept, d)
	return func() { s.stopped = append(s.stopped, d) }
}

func (s *toucher) message() *handler.Message {
	d := new(handler.Delivery)
	d.Init(&handler.Read{Source: s, At: s.terms.Now()}, handler.ID([]byte("0123456789abcdef")), 1, 0, []byte("body"))
	return d.Message()
}

// A message is kept touched exactly while its handler runs, however the handler ends.
func TestAutoTouch(t *testing.T) {
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		end func() error
		err error
	}{
		"success": {func() error { return nil }, nil},
		"failure": {func() error { return failed }, failed},
		"panic":   {func() error { panic(failed) }, failed},
	} {
		t.Run(name, func(t *testing.T) {
			s := &toucher{source: newSource(t)}
			m, ran := s.message(), false
			mw := handler.Chain(middleware.Recover(), middleware.AutoTouch())
			err := run(m, mw, func(ctx context.Context, got *handler.Message) error {
				ran = true
				check.Want(t, "message", got, m)
				check.Want(t, "context", ctx, m.Context())
				check.Want(t, "kept touched", len(s.kept), 1)
				check.Want(t, "stopped", len(s.stopped), 0)
				return c.end()
			})
			var p *handler.PanicError
			if errors.As(err, &p) {
				err = p.Value.(error)
			}
			check.Want(t, "answer", err, c.err)
			check.Want(t, "the handler ran", ran, true)
			check.Want(t, "kept touched", len(s.kept), 1)
			check.Want(t, "the message", s.kept[0].Message(), m)
			check.Want(t, "stopped", len(s.stopped), 1)
			check.Want(t, "the stopped message", s.stopped[0].Message(), m)
		})
	}
}

// A source that is not a Toucher is ignored.
func TestAutoTouchWithoutAToucher(t *testing.T) {
	failed := errors.New("failed")
	for name, m := range map[string]*handler.Message{"another source": newSource(t).message("body"), "no source": new(handler.Message)} {
		check.Want(t, name, run(m, middleware.AutoTouch(), answer(failed)), failed)
	}
}

func TestAutoTouchAllocatesNothing(t *testing.T) {
	s := &toucher{source: newSource(t), stop: func() {}}
	m := s.message()
	ctx, h := m.Context(), middleware.AutoTouch()(answer(nil))
	wantNoAllocs(t, "a message", func() { _ = h(ctx, m) })
}
