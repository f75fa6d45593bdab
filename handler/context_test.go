package handler_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

func TestFromContext(t *testing.T) {
	s := newSource(t)
	m := s.message("body")

	outside := handler.FromContext(context.Background())
	if outside == nil || outside.ID != (handler.ID{}) || delivery(outside).Source() != nil {
		t.Errorf("outside a handler: got %v, want a zero Message", outside)
	}
	check.Want(t, "in a handler", handler.FromContext(m.Context()), m)
	check.Want(t, "NewContext", handler.FromContext(handler.NewContext(context.Background(), m)), m)

	type key struct{}
	deep, cancel := context.WithTimeout(context.WithValue(m.Context(), key{}, 1), time.Hour)
	defer cancel()
	check.Want(t, "derived", handler.FromContext(deep), m)
	check.Want(t, "after the cancellation is taken off", handler.FromContext(context.WithoutCancel(deep)), m)

	other := s.message("other")
	check.Want(t, "the innermost wins", handler.FromContext(handler.NewContext(deep, other)), other)
}

func TestFromContextOfNil(t *testing.T) {
	if m := handler.FromContext(handler.NewContext(t.Context(), nil)); m == nil || m.Topic() != "" {
		t.Errorf("got %v, want a zero Message", m)
	}
}

func TestContextEndsByTime(t *testing.T) {
	// The call that comes first selects the path inside.
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
				check.Want(t, "Err just before", ctx.Err(), nil)
				check.Want(t, "cause just before", context.Cause(ctx), nil)
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
			check.Want(t, "cause", context.Cause(ctx), handler.ErrMessageTimeout)
			timedOut(t, ctx)
		})
	})
	t.Run("Done is asked for first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx := newSource(t).message("body").Context()
			time.Sleep(58 * time.Second)
			check.Want(t, "done", isDone(ctx), true)
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
				check.Want(t, "ended at", s.terms.Now(), 58*time.Second+30*time.Second)
				timedOut(t, ctx)
				after, ok := ctx.Deadline()
				check.Want(t, "the context's Deadline", after, deadline)
				check.Want(t, "has one", ok, true)
			})
		})
	}
}

// Between the end of the context and AnswerBy, a TOUCH still extends the message, but not the context.
func TestTouchDoesNotReviveTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newSource(t).message("body")
		ctx := m.Context()
		time.Sleep(58 * time.Second)
		check.Want(t, "Err, without Done", ctx.Err(), context.DeadlineExceeded)
		wantErr(t, "Touch", m.Touch(), nil)
		by, _ := delivery(m).AnswerBy()
		check.Want(t, "AnswerBy", by, 58*time.Second+59*time.Second)
		timedOut(t, ctx)
	})
}

// A context derived with a timeout has a timer of its own; a TOUCH of the message extends its parent.
func TestDerivedTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		m := s.message("body")
		short, cancel := context.WithTimeout(m.Context(), 5*time.Second)
		defer cancel()
		long, cancel := context.WithTimeout(m.Context(), 2*time.Minute)
		defer cancel()

		<-short.Done()
		check.Want(t, "short ended at", s.terms.Now(), 5*time.Second)
		check.Want(t, "the handler's own", m.Context().Err(), nil)

		time.Sleep(25 * time.Second)
		wantErr(t, "Touch", m.Touch(), nil)
		<-long.Done()
		check.Want(t, "long ended at", s.terms.Now(), 88*time.Second)
		check.Want(t, "cause", context.Cause(long), handler.ErrMessageTimeout)
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
			delivery(m).Release()
			check.Want(t, "Err", ctx.Err(), context.Canceled)
			check.Want(t, "cause", context.Cause(ctx), context.Canceled)
			check.Want(t, "done", isDone(ctx), true)
			check.Want(t, "Err after Done", ctx.Err(), context.Canceled)

			derived, cancel := context.WithCancel(ctx)
			defer cancel()
			check.Want(t, "derived later", derived.Err(), context.Canceled)
		})
	}
}

// Err never changes once it is not nil, whatever ends message and parent later.
func TestErrIsStable(t *testing.T) {
	ends := map[string]func(*fakeSource, *handler.Message){
		"time":    func(*fakeSource, *handler.Message) { time.Sleep(time.Minute) },
		"loss":    func(s *fakeSource, _ *handler.Message) { s.end(handler.ErrConnLost) },
		"release": func(_ *fakeSource, m *handler.Message) { delivery(m).Release() },
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
					check.Want(t, "Err after the second", ctx.Err(), err)
					check.Want(t, "done", isDone(ctx), true)
					check.Want(t, "Err after Done", ctx.Err(), err)
				})
			})
		}
	}
}

func TestContextValues(t *testing.T) {
	type key struct{}
	m := newSourceUnder(t, context.WithValue(context.Background(), key{}, "run")).message("body")
	ctx := m.Context()
	check.Want(t, "before Done", ctx.Value(key{}), any("run"))
	ctx.Done()
	check.Want(t, "after Done", ctx.Value(key{}), any("run"))
	check.Want(t, "of an unknown key", ctx.Value("run"), nil)
	check.Want(t, "FromContext after Done", handler.FromContext(ctx), m)
	delivery(m).Release()
	check.Want(t, "after Release", ctx.Value(key{}), any("run"))
	check.Want(t, "FromContext after Release", handler.FromContext(ctx), m)
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
		if now := runtime.NumGoroutine(); now > before { // fewer if one of another test has ended
			t.Errorf("%d goroutines, were %d", now, before)
		}

		s.end(handler.ErrConnLost)
		for _, ctx := range derived {
			check.Want(t, "done", isDone(ctx), true) // at once, without scheduling
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
		"release":  {func(_ *fakeSource, m *handler.Message) { delivery(m).Release() }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSource(t)
				m := s.message("body")
				ctx := m.Context()
				ran := make(chan error, 1)
				stop := context.AfterFunc(ctx, func() { ran <- context.Cause(ctx) })
				other := context.AfterFunc(ctx, func() { t.Error("a stopped AfterFunc has run") })
				check.Want(t, "stopped", other(), true)
				synctest.Wait()
				check.Want(t, "runs too early", len(ran), 0)

				c.end(s, m)
				synctest.Wait()
				if len(ran) != 1 {
					t.Fatal("it has not run")
				}
				check.Want(t, "cause", <-ran, c.want)
				check.Want(t, "stopped in time", stop(), false)
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
		wantAllocs(t, "AnswerBy", 0, func() { _, _ = delivery(m).AnswerBy() })
	}
	t.Run("before Done", check)
	ctx.Done()
	t.Run("after Done", check)
	wantAllocs(t, "Done again", 0, func() { ctx.Done() })
	delivery(m).Release()
	t.Run("after Release", check)
}

func TestMessageTimeoutError(t *testing.T) {
	var timeout interface{ Timeout() bool }
	if !errors.As(handler.ErrMessageTimeout, &timeout) || !timeout.Timeout() {
		t.Error("ErrMessageTimeout is no timeout")
	}
	wantErr(t, "ErrMessageTimeout", handler.ErrMessageTimeout, context.DeadlineExceeded)
	check.Want(t, "is a cancellation", errors.Is(handler.ErrMessageTimeout, context.Canceled), false)
}

// derivations derive contexts as handlers and middleware do, to any depth.
var derivations = map[string]func(context.Context) (context.Context, context.CancelFunc){
	"itself":     func(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, func() {} },
	"WithValue":  func(ctx context.Context) (context.Context, context.CancelFunc) { return withValues(ctx, 1), func() {} },
	"WithCancel": context.WithCancel,
	"WithTimeout": func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, time.Hour)
	},
	"20 values, cancel": func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithCancel(withValues(ctx, 20))
	},
	"cancel, 20 values, timeout": func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, first := context.WithCancel(ctx)
		ctx, second := context.WithTimeout(withValues(ctx, 20), time.Hour)
		return ctx, func() { second(); first() }
	},
	"timeout, cancel, value": func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, first := context.WithTimeout(ctx, time.Hour)
		ctx, second := context.WithCancelCause(ctx)
		return withValues(ctx, 1), func() { second(nil); first() }
	},
}

type depth int

func withValues(ctx context.Context, n int) context.Context {
	for i := range n {
		ctx = context.WithValue(ctx, depth(i), i)
	}
	return ctx
}

func TestCauseReachesDerivedContexts(t *testing.T) {
	for name, derive := range derivations {
		for _, cause := range []error{handler.ErrConnLost, handler.ErrShutdown} {
			t.Run(name+": "+cause.Error(), func(t *testing.T) {
				s := newSource(t)
				asked, unasked := s.message("body"), s.message("body")
				asked.Context().Done()
				before, cancel := derive(asked.Context())
				defer cancel()
				first, cancel := derive(unasked.Context())
				defer cancel()
				check.Want(t, "Err before", before.Err(), nil)
				check.Want(t, "cause before", context.Cause(before), nil)

				s.end(cause)
				after, cancel := derive(asked.Context())
				defer cancel()
				late, cancel := derive(s.message("body").Context()) // it waited in the queue of a lost connection
				defer cancel()
				for what, ctx := range map[string]context.Context{
					"Done was called":         before,
					"Done was not called":     first,
					"derived after the end":   after,
					"delivered after the end": late,
				} {
					check.Want(t, what+": cause", context.Cause(ctx), cause)
					check.Want(t, what+": Err", ctx.Err(), context.Canceled)
					check.Want(t, what+": done", isDone(ctx), true)
					check.Want(t, what+": cause after Done", context.Cause(ctx), cause)
				}
			})
		}
	}
}

func TestMessageTimeoutReachesDerivedContexts(t *testing.T) {
	for name, derive := range derivations {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newSource(t).message("body")
				before, cancel := derive(m.Context())
				defer cancel()
				check.Want(t, "Err before", before.Err(), nil)
				time.Sleep(58 * time.Second)
				synctest.Wait()
				after, cancel := derive(m.Context())
				defer cancel()
				for what, ctx := range map[string]context.Context{"before": before, "after": after} {
					if ctx.Err() == nil || !isDone(ctx) {
						t.Errorf("derived %s the end: it has not ended", what)
					}
					check.Want(t, "derived "+what+" the end: cause", context.Cause(ctx), handler.ErrMessageTimeout)
				}
			})
		})
	}
}

// The first cause counts.
func TestCauseIsStable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		lost, expired := s.message("body"), s.message("body")
		ctx := expired.Context()
		ctx.Done()
		time.Sleep(58 * time.Second)
		synctest.Wait()
		s.end(handler.ErrConnLost)
		delivery(expired).Release()
		check.Want(t, "expired", context.Cause(ctx), handler.ErrMessageTimeout)
		check.Want(t, "Err", ctx.Err(), context.DeadlineExceeded)

		// It was not used before both had happened: the connection is gone.
		check.Want(t, "lost", context.Cause(lost.Context()), handler.ErrConnLost)
		check.Want(t, "Err", lost.Context().Err(), context.Canceled)
	})
}

// countingParent counts the contexts that are its children.
type countingParent struct {
	context.Context
	done chan struct{}
	live atomic.Int64
}

func (p *countingParent) Done() <-chan struct{} { return p.done }

func (p *countingParent) AfterFunc(func()) (stop func() bool) {
	p.live.Add(1)
	return func() bool { p.live.Add(-1); return true }
}

func TestParentKeepsNoChild(t *testing.T) {
	for name, end := range map[string]func(*handler.Message){
		"released":          func(m *handler.Message) { delivery(m).Release() },
		"expired":           func(*handler.Message) { time.Sleep(58 * time.Second); synctest.Wait() },
		"expired, not used": func(m *handler.Message) { time.Sleep(58 * time.Second); delivery(m).Release() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &countingParent{Context: context.Background(), done: make(chan struct{})}
				s := newSource(t)
				s.ctx = p
				m := s.message("body")
				ctx := m.Context()
				check.Want(t, "before Done", p.live.Load(), 0)
				derived, cancel := context.WithCancel(ctx)
				defer cancel()
				ctx.Done()
				check.Want(t, "after Done", p.live.Load(), 1)
				end(m)
				check.Want(t, "at the end", p.live.Load(), 0)
				check.Want(t, "derived is done", isDone(derived), true)
				derived, cancel = context.WithCancel(ctx)
				defer cancel()
				check.Want(t, "after the end", p.live.Load(), 0)
				check.Want(t, "derived is done", isDone(derived), true)
			})
		})
	}
}

func TestNoTimerIsLeftAfterRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		m := s.message("body")
		ctx := m.Context()
		ctx.Done()
		delivery(m).Release()
		before := s.askedFor.Load()
		time.Sleep(time.Hour)
		synctest.Wait()
		check.Want(t, "a timer asked for the terms", s.askedFor.Load(), before)
		check.Want(t, "cause", context.Cause(ctx), context.Canceled)
	})
}

func TestDoneRacesWithRelease(t *testing.T) {
	s := newSource(t)
	for range 300 {
		m := s.message("body")
		ctx := m.Context()
		var start, all sync.WaitGroup
		start.Add(1)
		chans := make([]<-chan struct{}, 6)
		for i := range chans {
			all.Go(func() {
				start.Wait()
				derived, cancel := context.WithCancel(ctx)
				defer cancel()
				chans[i] = ctx.Done()
				_ = m.Touch()
				_ = ctx.Err()
				_ = ctx.Value(depth(0))
				_, _ = m.Deadline()
				<-derived.Done()
				<-chans[i]
				if err := ctx.Err(); err != context.Canceled {
					t.Errorf("Err: got %v", err)
				}
			})
		}
		start.Done()
		delivery(m).Release()
		all.Wait()
		for _, ch := range chans {
			check.Want(t, "Done", ch, chans[0])
		}
	}
}

func TestConnectionLossRacesWithTouchAndDone(t *testing.T) {
	for range 300 {
		s := newSource(t)
		m := s.message("body")
		ctx := m.Context()
		var all sync.WaitGroup
		all.Go(func() { s.end(handler.ErrConnLost) })
		for range 3 {
			all.Go(func() {
				_ = m.Touch()
				<-ctx.Done()
				if got := context.Cause(ctx); got != handler.ErrConnLost {
					t.Errorf("cause: got %v", got)
				}
			})
		}
		all.Wait()
		delivery(m).Release()
	}
}

// If the end and a TOUCH come at the same instant, the context ends either now or a message
// timeout after the TOUCH.
func TestTouchRacesWithTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			s := newSource(t)
			m := s.message("body")
			ctx := m.Context()
			ctx.Done()
			var touch sync.WaitGroup
			touch.Go(func() {
				time.Sleep(58 * time.Second)
				wantErr(t, "Touch", m.Touch(), nil)
			})
			<-ctx.Done()
			if at := s.terms.Now(); at != 58*time.Second && at != 116*time.Second {
				t.Errorf("ended at %v", at)
			}
			timedOut(t, ctx)
			touch.Wait()
			delivery(m).Release()
		}
	})
}
