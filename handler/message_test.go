package handler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

func TestMessageIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(handler.Message{}); got > 72 {
		t.Errorf("a Message has %d bytes, want at most 72", got)
	}
}

func TestZeroMessage(t *testing.T) {
	var m handler.Message
	check.Want(t, "ID", m.ID.String(), "")
	check.Want(t, "Topic", m.Topic(), "")
	check.Want(t, "Channel", m.Channel(), "")
	check.Want(t, "NSQD", m.NSQD(), "")
	check.Want(t, "Source", delivery(&m).Source(), nil)
	check.Want(t, "Received", m.Received(), time.Time{})
	check.Want(t, "Outcome", m.Outcome(), handler.Outcome{})
	check.Want(t, "Answerable", delivery(&m).Answerable(), true)
	wantErr(t, "Touch", m.Touch(), handler.ErrSettled)
	if at, ok := m.Deadline(); ok {
		t.Errorf("Deadline: got %v, want none", at)
	}
	if by, ok := delivery(&m).AnswerBy(); ok {
		t.Errorf("AnswerBy: got %v, want none", by)
	}

	ctx := m.Context()
	check.Want(t, "Err", ctx.Err(), nil)
	check.Want(t, "Value", ctx.Value("no such key"), nil)
	check.Want(t, "FromContext", handler.FromContext(ctx), &m)
	if at, ok := ctx.Deadline(); ok {
		t.Errorf("the context's Deadline: got %v, want none", at)
	}
	delivery(&m).Release()
	<-ctx.Done()
	check.Want(t, "Err after Release", ctx.Err(), context.Canceled)
}

func TestTouchTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		m := s.message("body")
		time.Sleep(59*time.Second - 1)
		wantErr(t, "Touch in time", m.Touch(), nil)
		check.Want(t, "touches", s.touched.Load(), 1)

		late := s.message("body")
		time.Sleep(59 * time.Second)
		wantErr(t, "Touch at AnswerBy", late.Touch(), handler.ErrMessageTimeout)
		wantErr(t, "Touch is a deadline that passed", late.Touch(), context.DeadlineExceeded)
		check.Want(t, "touches", s.touched.Load(), 1)
		by, _ := delivery(late).AnswerBy()
		check.Want(t, "AnswerBy", by, 2*59*time.Second-1)
	})
}

// A message that cannot be answered any more is not touched.
func TestTouchOfSettled(t *testing.T) {
	s := newSource(t)
	claimed, released := s.message("body"), s.message("body")
	delivery(claimed).Claim()
	delivery(released).Release()
	wantErr(t, "claimed", claimed.Touch(), handler.ErrSettled)
	wantErr(t, "released", released.Touch(), handler.ErrSettled)
	check.Want(t, "touches", s.touched.Load(), 0)
}

func TestTouchThatTheSourceRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		m := s.message("body")
		time.Sleep(10 * time.Second)
		for _, err := range []error{handler.ErrConnLost, errors.New("queue is full")} {
			s.touchErr = err
			wantErr(t, "Touch", m.Touch(), err)
			by, _ := delivery(m).AnswerBy()
			check.Want(t, "AnswerBy", by, 59*time.Second)
		}
	})
}

// nsqd's maximum holds, however often a message is touched.
func TestTouchOverAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		m := s.message("body")
		ctx := m.Context()
		for !isDone(ctx) {
			wantErr(t, "Touch", m.Touch(), nil)
			select {
			case <-time.After(30 * time.Second):
			case <-ctx.Done():
			}
		}
		check.Want(t, "ended at", s.terms.Now(), 15*time.Minute-2*time.Second)
		check.Want(t, "touches", s.touched.Load(), 30)
		wantErr(t, "cause", context.Cause(ctx), handler.ErrMessageTimeout)
		time.Sleep(time.Second)
		wantErr(t, "Touch at the maximum", m.Touch(), handler.ErrMessageTimeout)
	})
}

func TestWithBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		m := s.message("sealed")
		first := m.WithBody([]byte("opened"))
		second := first.WithBody([]byte("unpacked"))

		check.Want(t, "original body", string(m.Body), "sealed")
		check.Want(t, "first body", string(first.Body), "opened")
		check.Want(t, "second body", string(second.Body), "unpacked")
		for what, d := range map[string]*handler.Message{"first": first, "second": second} {
			check.Want(t, what+" ID", d.ID, m.ID)
			check.Want(t, what+" Attempts", d.Attempts, m.Attempts)
			check.Want(t, what+" Topic", d.Topic(), "orders")
			check.Want(t, what+" Source", delivery(d).Source(), delivery(m).Source())
			check.Want(t, what+" Timestamp", d.Timestamp(), m.Timestamp())
			check.Want(t, what+" Received", d.Received(), m.Received())
			check.Want(t, what+" Context", d.Context(), m.Context())
			check.Want(t, what+" in the context", handler.FromContext(d.Context()), m)
		}

		time.Sleep(10 * time.Second)
		wantErr(t, "touch of the second", second.Touch(), nil)
		for what, d := range map[string]*handler.Message{"m": m, "first": first, "second": second} {
			by, ok := delivery(d).AnswerBy()
			check.Want(t, what+" AnswerBy", by, 69*time.Second)
			check.Want(t, what+" expires", ok, true)
		}
		time.Sleep(59 * time.Second)
		check.Want(t, "Answerable of a touched one", delivery(second).Answerable(), false)

		out := handler.Outcome{Disposition: handler.Requeue, Delay: time.Second, Err: errors.New("busy")}
		delivery(first).SetOutcome(out)
		check.Want(t, "Outcome", m.Outcome(), out)
		check.Want(t, "Outcome of the second", second.Outcome(), out)

		check.Want(t, "Claim of the first", delivery(first).Claim(), true)
		check.Want(t, "Claim of the second", delivery(second).Claim(), false)
		check.Want(t, "Claim of the original", delivery(m).Claim(), false)
		wantErr(t, "Touch of a settled one", second.Touch(), handler.ErrSettled)
	})
}

// Release does not clear a body that does not belong to the connection.
func TestWithBodyAfterRelease(t *testing.T) {
	m := newSource(t).message("sealed")
	d := m.WithBody([]byte("opened"))
	delivery(m).Release()
	check.Want(t, "derived body", string(d.Body), "opened")
	check.Want(t, "derived topic", d.Topic(), "orders")
	wantErr(t, "derived context", d.Context().Err(), context.Canceled)
	wantErr(t, "Touch", d.Touch(), handler.ErrSettled)
}

func TestLogValueOmitsTheBody(t *testing.T) {
	var m handler.Message
	delivery(&m).Init(&handler.Read{Source: newSource(t)}, testID, 3, 0, []byte("s3cret"))
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

func TestPrintingOmitsTheBody(t *testing.T) {
	var m handler.Message
	delivery(&m).Init(&handler.Read{Source: newSource(t)}, testID, 7, 0, []byte("card number"))
	derived, cancel := context.WithCancel(m.Context())
	defer cancel()
	for _, v := range []any{&m, m.Context(), derived, delivery(&m)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			text := fmt.Sprintf(verb, v)
			if strings.Contains(text, "card") || strings.Contains(text, fmt.Sprint([]byte("card"))[1:10]) {
				t.Errorf("%s of a %T shows the body: %s", verb, v, text)
			}
			if !strings.Contains(text, testID.String()) && verb != "%#v" {
				t.Errorf("%s of a %T does not name the message: %s", verb, v, text)
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
		delivery(m).Init(r, testID, 1, 0, body)
		if err := handle(m.Context(), m); err != nil || !delivery(m).Claim() {
			t.Errorf("got %v", err)
		}
		delivery(m).SetOutcome(handler.Outcome{Disposition: handler.Finish})
		if m.Outcome().Disposition != handler.Finish {
			t.Error("the outcome is lost")
		}
		delivery(m).Release()
	})
}
