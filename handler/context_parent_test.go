package handler_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// chains derive a context as handlers and middleware do, to any depth.
var chains = map[string]func(context.Context) (context.Context, context.CancelFunc){
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
	for name, derive := range chains {
		for _, cause := range []error{handler.ErrConnLost, handler.ErrShutdown} {
			t.Run(name+": "+cause.Error(), func(t *testing.T) {
				s := newSource(t)
				asked, unasked := s.message("body"), s.message("body")
				asked.Context().Done()
				before, cancel := derive(asked.Context())
				defer cancel()
				first, cancel := derive(unasked.Context())
				defer cancel()
				want(t, "Err before", before.Err(), nil)
				want(t, "cause before", context.Cause(before), nil)

				s.end(cause)
				after, cancel := derive(asked.Context())
				defer cancel()
				late, cancel := derive(s.message("body").Context()) // from the queue of a lost connection
				defer cancel()
				for what, ctx := range map[string]context.Context{
					"Done was called":         before,
					"Done was not called":     first,
					"derived after the end":   after,
					"delivered after the end": late,
				} {
					want(t, what+": cause", context.Cause(ctx), cause)
					want(t, what+": Err", ctx.Err(), context.Canceled)
					want(t, what+": done", isDone(ctx), true)
					want(t, what+": cause after Done", context.Cause(ctx), cause)
				}
			})
		}
	}
}

func TestMessageTimeoutReachesDerivedContexts(t *testing.T) {
	for name, derive := range chains {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newSource(t).message("body")
				before, cancel := derive(m.Context())
				defer cancel()
				want(t, "Err before", before.Err(), nil)
				time.Sleep(58 * time.Second)
				synctest.Wait()
				after, cancel := derive(m.Context())
				defer cancel()
				for what, ctx := range map[string]context.Context{"before": before, "after": after} {
					if ctx.Err() == nil || !isDone(ctx) {
						t.Errorf("derived %s the end: it has not ended", what)
					}
					want(t, "derived "+what+" the end: cause", context.Cause(ctx), handler.ErrMessageTimeout)
				}
			})
		})
	}
}

// The first end is the one that counts.
func TestCauseIsStable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		lost, expired := s.message("body"), s.message("body")
		ctx := expired.Context()
		ctx.Done()
		time.Sleep(58 * time.Second)
		synctest.Wait()
		s.end(handler.ErrConnLost)
		(*handler.Delivery)(expired).Release()
		want(t, "expired", context.Cause(ctx), handler.ErrMessageTimeout)
		want(t, "Err", ctx.Err(), context.DeadlineExceeded)

		// Nobody asked it before both had happened: the connection is gone.
		want(t, "lost", context.Cause(lost.Context()), handler.ErrConnLost)
		want(t, "Err", lost.Context().Err(), context.Canceled)
	})
}

// countingParent knows how many contexts hang on it.
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

func TestNothingIsLeftInTheParent(t *testing.T) {
	for name, end := range map[string]func(*handler.Message){
		"released":               func(m *handler.Message) { (*handler.Delivery)(m).Release() },
		"expired":                func(*handler.Message) { time.Sleep(58 * time.Second); synctest.Wait() },
		"expired, not looked at": func(m *handler.Message) { time.Sleep(58 * time.Second); (*handler.Delivery)(m).Release() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &countingParent{Context: context.Background(), done: make(chan struct{})}
				s := newSource(t)
				s.ctx = p
				m := s.message("body")
				ctx := m.Context()
				want(t, "before Done", p.live.Load(), 0)
				derived, cancel := context.WithCancel(ctx)
				defer cancel()
				ctx.Done()
				want(t, "after Done", p.live.Load(), 1)
				end(m)
				want(t, "at the end", p.live.Load(), 0)
				want(t, "derived is done", isDone(derived), true)
				derived, cancel = context.WithCancel(ctx)
				defer cancel()
				want(t, "after the end", p.live.Load(), 0)
				want(t, "derived is done", isDone(derived), true)
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
		(*handler.Delivery)(m).Release()
		before := s.askedFor.Load()
		time.Sleep(time.Hour)
		synctest.Wait()
		want(t, "a timer asked for the terms", s.askedFor.Load(), before)
		want(t, "cause", context.Cause(ctx), context.Canceled)
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
		(*handler.Delivery)(m).Release()
		all.Wait()
		for _, ch := range chans {
			want(t, "Done", ch, chans[0])
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
		(*handler.Delivery)(m).Release()
	}
}

// The end and a TOUCH at the same instant: whoever wins, the context ends, and
// either now or a message timeout after the touch.
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
			(*handler.Delivery)(m).Release()
		}
	})
}
