package handler_test

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

var testID = handler.ID([]byte("0123456789abcdef"))

// fakeSource is a connection without a network.
type fakeSource struct {
	ctx      context.Context
	end      context.CancelCauseFunc
	terms    handler.Terms
	touchErr error

	touched  atomic.Int64
	askedFor atomic.Int64 // calls of Terms: a timer that is left calls it
}

// newSource returns a source with a message timeout of a minute and a margin of a second: the
// context of a handler ends after 58 s, AnswerBy is 59 s.
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

// message returns a message that s receives now.
func (s *fakeSource) message(body string) *handler.Message {
	m := new(handler.Message)
	delivery(m).Init(&handler.Read{Source: s, At: s.terms.Now()}, testID, 1, 1_700_000_000_123_456_789, []byte(body))
	return m
}

// readTogether returns n deliveries of one read.
func readTogether(r *handler.Read, n int) []handler.Delivery {
	msgs := make([]handler.Delivery, n)
	for i := range msgs {
		msgs[i].Init(r, testID, 1, 0, []byte("body"))
	}
	return msgs
}

func isDone(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// timedOut checks the context of a message after its message timeout.
func timedOut(t *testing.T, ctx context.Context) {
	t.Helper()
	check.Want(t, "Err", ctx.Err(), context.DeadlineExceeded)
	check.Want(t, "cause", context.Cause(ctx), handler.ErrMessageTimeout)
	wantErr(t, "cause", context.Cause(ctx), context.DeadlineExceeded)
	check.Want(t, "done", isDone(ctx), true)
}

// decoderFunc is a Decoder.
type decoderFunc[T any] func(body []byte) (T, error)

func (f decoderFunc[T]) Decode(body []byte) (T, error) { return f(body) }

var decodeInt = decoderFunc[int](func(body []byte) (int, error) { return strconv.Atoi(string(body)) })

type bytesDecoder struct{}

func (bytesDecoder) Decode(body []byte) ([]byte, error) { return body, nil }

// withHeaders returns a payload in an envelope with headers: keys and values in turn.
func withHeaders(t testing.TB, payload string, pairs ...string) string {
	t.Helper()
	var w envelope.Writer
	for i := 0; i < len(pairs); i += 2 {
		wantErr(t, "Set", w.Set(pairs[i], pairs[i+1]), nil)
	}
	return string(w.AppendTo(nil, []byte(payload)))
}

func list(headers iter.Seq2[string, string]) string {
	var all []string
	for key, value := range headers {
		all = append(all, key+"="+value)
	}
	return strings.Join(all, " ")
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

// delivery returns m with the methods of a consumer.
func delivery(m *handler.Message) *handler.Delivery { return (*handler.Delivery)(m) }
