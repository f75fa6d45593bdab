package handler_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx/handler"
)

var testID = handler.ID([]byte("0123456789abcdef"))

// fakeSource is a connection without a network.
type fakeSource struct {
	ctx      context.Context
	end      context.CancelCauseFunc
	terms    handler.Terms
	touchErr error

	touched  atomic.Int64
	askedFor atomic.Int64 // calls of Terms: who still has a timer asks
}

// newSource gives messages a minute, of which a second is margin: a handler's
// context ends at 58 s, answerBy is 59 s.
func newSource(t testing.TB) *fakeSource { return newSourceUnder(t, context.Background()) }

func newSourceUnder(t testing.TB, parent context.Context) *fakeSource {
	s := &fakeSource{terms: handler.Terms{
		Start:             time.Now(),
		MessageTimeout:    time.Minute,
		MaxMessageTimeout: 15 * time.Minute,
		Margin:            time.Second,
	}}
	s.ctx, s.end = context.WithCancelCause(parent)
	t.Cleanup(func() { s.end(nil) })
	return s
}

func (s *fakeSource) Topic() string            { return "orders" }
func (s *fakeSource) Channel() string          { return "billing" }
func (s *fakeSource) NSQD() string             { return "127.0.0.1:4150" }
func (s *fakeSource) Context() context.Context { return s.ctx }

func (s *fakeSource) Terms() *handler.Terms {
	s.askedFor.Add(1)
	return &s.terms
}

func (s *fakeSource) Touch(*handler.Delivery) error {
	if s.touchErr != nil {
		return s.touchErr
	}
	s.touched.Add(1)
	return nil
}

// message is one that s receives now.
func (s *fakeSource) message(body string) *handler.Message {
	m := new(handler.Message)
	(*handler.Delivery)(m).Init(&handler.Read{Source: s, At: s.terms.Now()}, testID, 1, 1_700_000_000_123_456_789, []byte(body))
	return m
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func wantAllocs(t testing.TB, what string, most float64, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(200, f); got > most {
		t.Errorf("%s: %v allocations, want at most %v", what, got, most)
	}
}
