package middleware_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// source is a connection without a network. The context of a handler ends 58 s after delivery.
type source struct {
	ctx   context.Context
	end   context.CancelCauseFunc
	terms handler.Terms
}

func newSource(t testing.TB) *source {
	s := &source{terms: handler.Terms{
		Start:             time.Now(),
		MessageTimeout:    time.Minute,
		MaxMessageTimeout: 15 * time.Minute,
		Margin:            time.Second,
	}}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	t.Cleanup(func() { s.end(nil) })
	return s
}

func (s *source) Topic() string                 { return "orders" }
func (s *source) Channel() string               { return "billing" }
func (s *source) NSQD() string                  { return "127.0.0.1:4150" }
func (s *source) Context() context.Context      { return s.ctx }
func (s *source) Terms() *handler.Terms         { return &s.terms }
func (s *source) Touch(*handler.Delivery) error { return nil }

// message returns the third delivery of a message.
func (s *source) message(body string) *handler.Message {
	d := new(handler.Delivery)
	d.Init(&handler.Read{Source: s, At: s.terms.Now()}, handler.ID([]byte("0123456789abcdef")), 3, 0, []byte(body))
	return d.Message()
}

// run calls mw and fn as a consumer does.
func run(m *handler.Message, mw handler.Middleware, fn handler.Raw) error {
	return mw(fn)(m.Context(), m)
}

func answer(err error) handler.Raw {
	return func(context.Context, *handler.Message) error { return err }
}

func panicking(v any) handler.Raw {
	return func(context.Context, *handler.Message) error { panic(v) }
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func wantNoAllocs(t testing.TB, what string, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(200, f); got != 0 {
		t.Errorf("%s: %v allocations, want none", what, got)
	}
}
