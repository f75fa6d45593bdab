package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/middleware"
)

func TestRecover(t *testing.T) {
	m := newSource(t).message("body")
	for name, c := range map[string]struct {
		value any
		is    error
	}{
		"a string": {"boom", nil},
		"an error": {io.ErrUnexpectedEOF, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(m, middleware.Recover(), panicking(c.value))
			var p *handler.PanicError
			if !errors.As(err, &p) {
				t.Fatalf("got %v, want a PanicError", err)
			}
			check.Want(t, "Value", p.Value, c.value)
			if c.is != nil {
				wantErr(t, "chain", err, c.is)
			}
			if !bytes.Contains(p.Stack, []byte("panicking")) {
				t.Errorf("the stack does not name the function that panicked:\n%s", p.Stack)
			}
		})
	}
}

func TestRecoverFromRuntimeErrors(t *testing.T) {
	for name, fn := range map[string]handler.Raw{
		"nil":       func(ctx context.Context, _ *handler.Message) error { return handler.Raw(nil)(ctx, nil) },
		"index":     func(_ context.Context, m *handler.Message) error { _ = m.Body[len(m.Body)]; return nil },
		"panic nil": func(context.Context, *handler.Message) error { panic(nil) },
	} {
		err := run(newSource(t).message("body"), middleware.Recover(), fn)
		var p *handler.PanicError
		var re runtime.Error
		if !errors.As(err, &p) || !errors.As(err, &re) {
			t.Errorf("%s: got %v, want a PanicError of a runtime.Error", name, err)
		}
	}
}

func TestRecoverPassesAnswersOn(t *testing.T) {
	m := newSource(t).message("body")
	errBusy := errors.New("busy")
	check.Want(t, "failure", run(m, middleware.Recover(), answer(errBusy)), errBusy)
	check.Want(t, "success", run(m, middleware.Recover(), answer(nil)), nil)
}

func TestGoexitPassesOn(t *testing.T) {
	m := newSource(t).message("body")
	returned, deferred := false, false
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = run(m, middleware.Recover(), func(context.Context, *handler.Message) error {
			defer func() { deferred = true }()
			runtime.Goexit()
			return nil
		})
		returned = true
	}()
	<-done
	check.Want(t, "the handler's deferred function ran", deferred, true)
	check.Want(t, "the middleware returned", returned, false)
}

func TestRecoverAllocatesNothing(t *testing.T) {
	m := newSource(t).message("body")
	ctx := m.Context()
	h := middleware.Recover()(answer(nil))
	wantNoAllocs(t, "no panic", func() { _ = h(ctx, m) })
}
