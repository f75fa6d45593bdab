package handler_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/nsqx/nsqx/handler"
)

func TestMessageIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(handler.Message{}); got > 72 {
		t.Errorf("a Message has %d bytes, want at most 72", got)
	}
}

func TestInit(t *testing.T) {
	s := newSource(t)
	var m handler.Message
	(*handler.Delivery)(&m).Init(&handler.Read{Source: s, At: 3 * time.Second}, testID, 7, 1_700_000_000_123_456_789, []byte("body"))

	want(t, "ID", m.ID, testID)
	want(t, "Attempts", m.Attempts, 7)
	want(t, "Body", string(m.Body), "body")
	want(t, "Topic", m.Topic(), "orders")
	want(t, "Channel", m.Channel(), "billing")
	want(t, "NSQD", m.NSQD(), "127.0.0.1:4150")
	want(t, "Source", (*handler.Delivery)(&m).Source(), handler.Source(s))
	want(t, "Timestamp", m.Timestamp().UnixNano(), 1_700_000_000_123_456_789)
	want(t, "Received", m.Received(), s.terms.Start.Add(3*time.Second))
	want(t, "Outcome", m.Outcome(), handler.Outcome{})
	want(t, "Answerable", (*handler.Delivery)(&m).Answerable(), true)
}

func TestZeroMessage(t *testing.T) {
	var m handler.Message
	want(t, "ID", m.ID.String(), "")
	want(t, "Topic", m.Topic(), "")
	want(t, "Channel", m.Channel(), "")
	want(t, "NSQD", m.NSQD(), "")
	want(t, "Source", (*handler.Delivery)(&m).Source(), nil)
	want(t, "Received", m.Received(), time.Time{})
	want(t, "Outcome", m.Outcome(), handler.Outcome{})
	want(t, "Answerable", (*handler.Delivery)(&m).Answerable(), true)
	wantErr(t, "Touch", m.Touch(), handler.ErrSettled)
	if at, ok := m.Deadline(); ok {
		t.Errorf("Deadline: got %v, want none", at)
	}
	if by, ok := (*handler.Delivery)(&m).AnswerBy(); ok {
		t.Errorf("AnswerBy: got %v, want none", by)
	}

	ctx := m.Context()
	want(t, "Err", ctx.Err(), nil)
	want(t, "Value", ctx.Value("no such key"), nil)
	want(t, "FromContext", handler.FromContext(ctx), &m)
	if at, ok := ctx.Deadline(); ok {
		t.Errorf("the context's Deadline: got %v, want none", at)
	}
	(*handler.Delivery)(&m).Release()
	<-ctx.Done()
	want(t, "Err after Release", ctx.Err(), context.Canceled)
}

func TestFromContext(t *testing.T) {
	s := newSource(t)
	m := s.message("body")

	outside := handler.FromContext(context.Background())
	if outside == nil || outside.ID != (handler.ID{}) || (*handler.Delivery)(outside).Source() != nil {
		t.Errorf("outside a handler: got %v, want a zero Message", outside)
	}
	want(t, "in a handler", handler.FromContext(m.Context()), m)
	want(t, "NewContext", handler.FromContext(handler.NewContext(context.Background(), m)), m)

	type key struct{}
	deep, cancel := context.WithTimeout(context.WithValue(m.Context(), key{}, 1), time.Hour)
	defer cancel()
	want(t, "derived", handler.FromContext(deep), m)
	want(t, "after the cancellation is taken off", handler.FromContext(context.WithoutCancel(deep)), m)

	other := s.message("other")
	want(t, "the innermost wins", handler.FromContext(handler.NewContext(deep, other)), other)
}

func TestWithBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		m := s.message("sealed")
		first := m.WithBody([]byte("opened"))
		second := first.WithBody([]byte("unpacked"))

		want(t, "original body", string(m.Body), "sealed")
		want(t, "first body", string(first.Body), "opened")
		want(t, "second body", string(second.Body), "unpacked")
		for what, d := range map[string]*handler.Message{"first": first, "second": second} {
			want(t, what+" ID", d.ID, m.ID)
			want(t, what+" Attempts", d.Attempts, m.Attempts)
			want(t, what+" Topic", d.Topic(), "orders")
			want(t, what+" Source", (*handler.Delivery)(d).Source(), (*handler.Delivery)(m).Source())
			want(t, what+" Timestamp", d.Timestamp(), m.Timestamp())
			want(t, what+" Received", d.Received(), m.Received())
			want(t, what+" Context", d.Context(), m.Context())
			want(t, what+" in the context", handler.FromContext(d.Context()), m)
		}

		time.Sleep(10 * time.Second)
		wantErr(t, "touch of the second", second.Touch(), nil)
		for what, d := range map[string]*handler.Message{"m": m, "first": first, "second": second} {
			by, ok := (*handler.Delivery)(d).AnswerBy()
			want(t, what+" AnswerBy", by, 69*time.Second)
			want(t, what+" expires", ok, true)
		}
		time.Sleep(59 * time.Second)
		want(t, "Answerable of a touched one", (*handler.Delivery)(second).Answerable(), false)

		out := handler.Outcome{Disposition: handler.Requeue, Delay: time.Second, Err: errors.New("busy")}
		(*handler.Delivery)(first).SetOutcome(out)
		want(t, "Outcome", m.Outcome(), out)
		want(t, "Outcome of the second", second.Outcome(), out)

		want(t, "Claim of the first", (*handler.Delivery)(first).Claim(), true)
		want(t, "Claim of the second", (*handler.Delivery)(second).Claim(), false)
		want(t, "Claim of the original", (*handler.Delivery)(m).Claim(), false)
		wantErr(t, "Touch of a settled one", second.Touch(), handler.ErrSettled)
	})
}

// A body that the connection did not lend is not taken away.
func TestWithBodyAfterRelease(t *testing.T) {
	m := newSource(t).message("sealed")
	d := m.WithBody([]byte("opened"))
	(*handler.Delivery)(m).Release()
	want(t, "derived body", string(d.Body), "opened")
	want(t, "derived topic", d.Topic(), "orders")
	wantErr(t, "derived context", d.Context().Err(), context.Canceled)
	wantErr(t, "Touch", d.Touch(), handler.ErrSettled)
}

func TestClaimOnce(t *testing.T) {
	s := newSource(t)
	for range 200 {
		m := s.message("body")
		var won atomic.Int32
		var start, done sync.WaitGroup
		start.Add(1)
		for range 8 {
			done.Go(func() {
				start.Wait()
				if (*handler.Delivery)(m).Claim() {
					won.Add(1)
				}
			})
		}
		start.Done()
		done.Wait()
		want(t, "claims that won", won.Load(), 1)
	}
}

func TestRelease(t *testing.T) {
	s := newSource(t)
	freed := 0
	r := &handler.Read{Source: s, Free: func() { freed++ }}
	msgs := readTogether(r, 2)
	(*handler.Delivery)(&msgs[0]).Release()
	want(t, "Body", msgs[0].Body == nil, true)
	(*handler.Delivery)(&msgs[0]).Release() // changes nothing
	want(t, "neighbour's body", string(msgs[1].Body), "body")
	want(t, "freed too early", freed, 0)
	(*handler.Delivery)(&msgs[1]).Release()
	want(t, "freed", freed, 1)
	want(t, "the memory is kept", r.Free != nil, false)
}

// What WithBody made holds no memory of the connection.
func TestReleaseOfDerived(t *testing.T) {
	freed := false
	var m handler.Message
	(*handler.Delivery)(&m).Init(&handler.Read{Source: newSource(t), Free: func() { freed = true }}, testID, 1, 0, []byte("sealed"))
	(*handler.Delivery)(m.WithBody([]byte("opened"))).Release()
	want(t, "freed", freed, false)
	want(t, "body", string(m.Body), "sealed")
	want(t, "Err", m.Context().Err(), nil)
}

func TestLogValueHasNoBody(t *testing.T) {
	var m handler.Message
	(*handler.Delivery)(&m).Init(&handler.Read{Source: newSource(t)}, testID, 3, 0, []byte("s3cret"))
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		var h slog.Handler = slog.NewTextHandler(&out, nil)
		if format == "json" {
			h = slog.NewJSONHandler(&out, nil)
		}
		slog.New(h).Info("got", "message", &m)
		if strings.Contains(out.String(), "s3cret") {
			t.Errorf("%s: the body was logged: %s", format, out.String())
		}
		for _, s := range []string{testID.String(), "orders", "billing", "127.0.0.1:4150", "attempts"} {
			if !strings.Contains(out.String(), s) {
				t.Errorf("%s: %q is missing in %s", format, s, out.String())
			}
		}
	}
}

func TestOneMessageAllocatesNothing(t *testing.T) {
	s := newSource(t)
	body := []byte("body")
	handle := handler.Typed(bytesDecoder{}, func(ctx context.Context, _ []byte) error {
		if m := handler.FromContext(ctx); m.Attempts != 1 {
			return errors.New("another message")
		}
		return ctx.Err()
	})
	msgs, reads := make([]handler.Message, 300), make([]handler.Read, 300)
	i := 0
	wantAllocs(t, "one message", 0, func() {
		m, r := &msgs[i], &reads[i]
		i++
		r.Source, r.At, r.Free = s, s.terms.Now(), func() {}
		(*handler.Delivery)(m).Init(r, testID, 1, 0, body)
		if err := handle(m.Context(), m); err != nil || !(*handler.Delivery)(m).Claim() {
			t.Errorf("got %v", err)
		}
		(*handler.Delivery)(m).SetOutcome(handler.Outcome{Disposition: handler.Finish})
		if m.Outcome().Disposition != handler.Finish {
			t.Error("the outcome is lost")
		}
		(*handler.Delivery)(m).Release()
	})
}

type bytesDecoder struct{}

func (bytesDecoder) Decode(body []byte) ([]byte, error) { return body, nil }
