package handler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// What a handler asks first makes the difference inside.
func TestExpire(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(m *handler.Message)
		timeout time.Duration
	}{
		"nothing asked before":     {func(*handler.Message) {}, time.Minute},
		"Err before":               {func(m *handler.Message) { _ = m.Context().Err() }, time.Minute},
		"Done before":              {func(m *handler.Message) { m.Context().Done() }, time.Minute},
		"touched":                  {func(m *handler.Message) { _ = m.Touch() }, time.Minute},
		"touched, Done before":     {func(m *handler.Message) { m.Context().Done(); _ = m.Touch() }, time.Minute},
		"by a derived message":     {func(m *handler.Message) { (*handler.Delivery)(m.WithBody(nil)).Expire() }, time.Minute},
		"no message timeout":       {func(*handler.Message) {}, 0},
		"no timeout, Done before":  {func(m *handler.Message) { m.Context().Done() }, 0},
		"expired before":           {func(m *handler.Message) { (*handler.Delivery)(m).Expire() }, time.Minute},
		"expired and asked before": {func(m *handler.Message) { (*handler.Delivery)(m).Expire(); _ = m.Context().Err() }, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSource(t)
				s.terms.MessageTimeout = c.timeout
				m, other := s.message("body"), s.message("another")
				deadline, _ := m.Context().Deadline()
				time.Sleep(10 * time.Second)
				c.before(m)
				touches := s.touched.Load()
				(*handler.Delivery)(m).Expire()

				timedOut(t, m.Context())
				want(t, "Answerable", (*handler.Delivery)(m).Answerable(), false)
				wantErr(t, "Touch", m.Touch(), handler.ErrMessageTimeout)
				want(t, "touches", s.touched.Load(), touches)
				at, ok := m.Deadline()
				want(t, "the deadline has passed", ok && !at.After(time.Now()), true)
				after, _ := m.Context().Deadline()
				want(t, "the context's Deadline", after, deadline)
				want(t, "the other's Err", other.Context().Err(), nil)
				want(t, "the other is answerable", (*handler.Delivery)(other).Answerable(), true)
				want(t, "claimed", (*handler.Delivery)(m).Claim(), true)

				asked := s.askedFor.Load()
				time.Sleep(time.Hour)
				want(t, "timers that are left", s.askedFor.Load(), asked)
			})
		})
	}
}

// The first end of a context is the one that counts.
func TestExpireComesLate(t *testing.T) {
	t.Run("after the connection's end", func(t *testing.T) {
		s := newSource(t)
		m := s.message("body")
		m.Context().Done()
		s.end(handler.ErrConnLost)
		(*handler.Delivery)(m).Expire()
		want(t, "cause", context.Cause(m.Context()), handler.ErrConnLost)
	})
	t.Run("after the handler's return", func(t *testing.T) {
		m := newSource(t).message("body")
		ctx := m.Context()
		ctx.Done()
		(*handler.Delivery)(m).Release()
		(*handler.Delivery)(m).Expire()
		want(t, "Err", ctx.Err(), context.Canceled)
		wantErr(t, "Touch", m.Touch(), handler.ErrSettled)
	})
	t.Run("of no source", func(t *testing.T) {
		m := new(handler.Message)
		(*handler.Delivery)(m).Expire()
		want(t, "Err", m.Context().Err(), nil)
	})
}

func TestExpireWhileAsked(t *testing.T) {
	for range 200 {
		s := newSource(t)
		m := s.message("body")
		asked := make(chan context.Context)
		go func() {
			ctx := m.Context()
			_ = m.Touch()
			<-ctx.Done()
			asked <- ctx
		}()
		(*handler.Delivery)(m).Expire()
		timedOut(t, <-asked)
	}
}
