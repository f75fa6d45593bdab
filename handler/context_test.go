package handler_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
)

func isDone(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// timedOut checks a handler's own context after its message timeout.
func timedOut(t *testing.T, ctx context.Context) {
	t.Helper()
	want(t, "Err", ctx.Err(), context.DeadlineExceeded)
	want(t, "cause", context.Cause(ctx), handler.ErrMessageTimeout)
	wantErr(t, "cause", context.Cause(ctx), context.DeadlineExceeded)
	want(t, "done", isDone(ctx), true)
}

func TestContextEndsByTime(t *testing.T) {
	// What a handler asks first makes the difference inside.
	for name, ask := range map[string]func(context.Context){
		"never asked before": func(context.Context) {},
		"Err before":         func(ctx context.Context) { _ = ctx.Err() },
		"Done before":        func(ctx context.Context) { ctx.Done() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := newSource(t).message("body").Context()
				ask(ctx)
				time.Sleep(58*time.Second - 1)
				want(t, "Err just before", ctx.Err(), nil)
				want(t, "cause just before", context.Cause(ctx), nil)
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				timedOut(t, ctx)
			})
		})
	}

	t.Run("the cause is asked for first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx := newSource(t).message("body").Context()
			time.Sleep(58 * time.Second)
			want(t, "cause", context.Cause(ctx), handler.ErrMessageTimeout)
			timedOut(t, ctx)
		})
	})
	t.Run("Done is asked for first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx := newSource(t).message("body").Context()
			time.Sleep(58 * time.Second)
			want(t, "done", isDone(ctx), true)
			timedOut(t, ctx)
		})
	})
}

func TestTouchMovesTheContext(t *testing.T) {
	for name, ask := range map[string]func(context.Context){
		"Done before": func(ctx context.Context) { ctx.Done() },
		"Done after":  func(context.Context) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSource(t)
				m := s.message("body")
				ctx := m.Context()
				ask(ctx)
				deadline, _ := ctx.Deadline()

				time.Sleep(10 * time.Second)
				wantErr(t, "Touch", m.Touch(), nil)
				time.Sleep(20 * time.Second)
				wantErr(t, "Touch", m.Touch(), nil)

				<-ctx.Done()
				want(t, "ended at", s.terms.Now(), 58*time.Second+30*time.Second)
				timedOut(t, ctx)
				after, ok := ctx.Deadline()
				want(t, "the context's Deadline", after, deadline)
				want(t, "has one", ok, true)
			})
		})
	}
}

// Between the context's end and answerBy a TOUCH still helps the message, but
// not the context.
func TestTouchDoesNotReviveTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newSource(t).message("body")
		ctx := m.Context()
		time.Sleep(58 * time.Second)
		want(t, "Err, without Done", ctx.Err(), context.DeadlineExceeded)
		wantErr(t, "Touch", m.Touch(), nil)
		by, _ := (*handler.Delivery)(m).AnswerBy()
		want(t, "AnswerBy", by, 58*time.Second+59*time.Second)
		timedOut(t, ctx)
	})
}

// A context derived with a timeout arms its own timer, whatever the message
// timeout is, and is touched with the message.
func TestDerivedTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		m := s.message("body")
		short, cancel := context.WithTimeout(m.Context(), 5*time.Second)
		defer cancel()
		long, cancel := context.WithTimeout(m.Context(), 2*time.Minute)
		defer cancel()

		<-short.Done()
		want(t, "short ended at", s.terms.Now(), 5*time.Second)
		want(t, "the handler's own", m.Context().Err(), nil)

		time.Sleep(25 * time.Second)
		wantErr(t, "Touch", m.Touch(), nil)
		<-long.Done()
		want(t, "long ended at", s.terms.Now(), 88*time.Second)
		want(t, "cause", context.Cause(long), handler.ErrMessageTimeout)
	})
}

func TestReleaseEndsTheContext(t *testing.T) {
	for name, ask := range map[string]func(context.Context){
		"Done before": func(ctx context.Context) { ctx.Done() },
		"Done after":  func(context.Context) {},
	} {
		t.Run(name, func(t *testing.T) {
			m := newSource(t).message("body")
			ctx := m.Context()
			ask(ctx)
			(*handler.Delivery)(m).Release()
			want(t, "Err", ctx.Err(), context.Canceled)
			want(t, "cause", context.Cause(ctx), context.Canceled)
			want(t, "done", isDone(ctx), true)
			want(t, "Err after Done", ctx.Err(), context.Canceled)

			derived, cancel := context.WithCancel(ctx)
			defer cancel()
			want(t, "derived later", derived.Err(), context.Canceled)
		})
	}
}

// Once there is an Err it stays, whatever happens to message and parent then.
func TestErrIsStable(t *testing.T) {
	ends := map[string]func(*fakeSource, *handler.Message){
		"time":    func(*fakeSource, *handler.Message) { time.Sleep(time.Minute) },
		"loss":    func(s *fakeSource, _ *handler.Message) { s.end(handler.ErrConnLost) },
		"release": func(_ *fakeSource, m *handler.Message) { (*handler.Delivery)(m).Release() },
	}
	for first, endFirst := range ends {
		for second, endSecond := range ends {
			t.Run(first+" then "+second, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSource(t)
					m := s.message("body")
					ctx := m.Context()
					endFirst(s, m)
					err := ctx.Err()
					if err == nil {
						t.Fatal("the context has not ended")
					}
					endSecond(s, m)
					want(t, "Err after the second", ctx.Err(), err)
					want(t, "done", isDone(ctx), true)
					want(t, "Err after Done", ctx.Err(), err)
				})
			})
		}
	}
}

func TestContextValues(t *testing.T) {
	type key struct{}
	m := newSourceUnder(t, context.WithValue(context.Background(), key{}, "run")).message("body")
	ctx := m.Context()
	want(t, "before Done", ctx.Value(key{}), any("run"))
	ctx.Done()
	want(t, "after Done", ctx.Value(key{}), any("run"))
	want(t, "of a stranger", ctx.Value("run"), nil)
	want(t, "FromContext after Done", handler.FromContext(ctx), m)
	(*handler.Delivery)(m).Release()
	want(t, "after Release", ctx.Value(key{}), any("run"))
	want(t, "FromContext after Release", handler.FromContext(ctx), m)
}

func TestDerivedContextsNeedNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		s := newSource(t)
		m := s.message("body")
		before := runtime.NumGoroutine()
		var derived []context.Context
		for range 100 {
			ctx, cancel := context.WithCancel(context.WithValue(context.WithValue(m.Context(), key{}, 1), key{}, 2))
			defer cancel()
			deep, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			derived = append(derived, ctx, deep)
		}
		synctest.Wait()
		if now := runtime.NumGoroutine(); now > before { // fewer, when one of another test has ended meanwhile
			t.Errorf("%d goroutines, were %d", now, before)
		}

		s.end(handler.ErrConnLost)
		for _, ctx := range derived {
			want(t, "done", isDone(ctx), true) // at once: nobody has to be scheduled
		}
	})
}

func TestAfterFunc(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*fakeSource, *handler.Message)
		want error
	}{
		"time":     {func(*fakeSource, *handler.Message) { time.Sleep(58 * time.Second) }, handler.ErrMessageTimeout},
		"loss":     {func(s *fakeSource, _ *handler.Message) { s.end(handler.ErrConnLost) }, handler.ErrConnLost},
		"shutdown": {func(s *fakeSource, _ *handler.Message) { s.end(handler.ErrShutdown) }, handler.ErrShutdown},
		"release":  {func(_ *fakeSource, m *handler.Message) { (*handler.Delivery)(m).Release() }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSource(t)
				m := s.message("body")
				ctx := m.Context()
				ran := make(chan error, 1)
				stop := context.AfterFunc(ctx, func() { ran <- context.Cause(ctx) })
				other := context.AfterFunc(ctx, func() { t.Error("a stopped AfterFunc has run") })
				want(t, "stopped", other(), true)
				synctest.Wait()
				want(t, "runs too early", len(ran), 0)

				c.end(s, m)
				synctest.Wait()
				if len(ran) != 1 {
					t.Fatal("it has not run")
				}
				want(t, "cause", <-ran, c.want)
				want(t, "stopped in time", stop(), false)
			})
		})
	}
}

func TestContextAllocatesNothing(t *testing.T) {
	type key struct{}
	m := newSource(t).message("body")
	ctx := m.Context()
	check := func(t *testing.T) {
		wantAllocs(t, "Context", 0, func() { _ = m.Context() })
		wantAllocs(t, "Err", 0, func() { _ = ctx.Err() })
		wantAllocs(t, "Deadline", 0, func() { _, _ = ctx.Deadline() })
		wantAllocs(t, "Value", 0, func() { _ = ctx.Value(key{}) })
		wantAllocs(t, "FromContext", 0, func() { _ = handler.FromContext(ctx) })
		wantAllocs(t, "Cause", 0, func() { _ = context.Cause(ctx) })
		wantAllocs(t, "AnswerBy", 0, func() { _, _ = (*handler.Delivery)(m).AnswerBy() })
	}
	t.Run("before Done", check)
	ctx.Done()
	t.Run("after Done", check)
	wantAllocs(t, "Done again", 0, func() { ctx.Done() })
	(*handler.Delivery)(m).Release()
	t.Run("after Release", check)
}

func TestMessageTimeoutError(t *testing.T) {
	var timeout interface{ Timeout() bool }
	if !errors.As(handler.ErrMessageTimeout, &timeout) || !timeout.Timeout() {
		t.Error("ErrMessageTimeout is no timeout")
	}
	wantErr(t, "ErrMessageTimeout", handler.ErrMessageTimeout, context.DeadlineExceeded)
	want(t, "is a cancellation", errors.Is(handler.ErrMessageTimeout, context.Canceled), false)
}
