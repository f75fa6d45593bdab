package handler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

func TestEnvelopeIsRemoved(t *testing.T) {
	s := newSource(t)
	body := withHeaders(t, "42", "tenant", "acme", "Trace", "1")
	m := s.message(body)
	check.Want(t, "Body", string(m.Body), "42")
	check.Want(t, "RawBody", string(m.RawBody()), body)
	check.Want(t, "Header", m.Header("Tenant"), "acme")
	check.Want(t, "a header that is not there", m.Header("nobody"), "")
	check.Want(t, "Headers", list(m.Headers()), "tenant=acme trace=1")
	check.Want(t, "Source", delivery(m).Source(), handler.Source(s))
	check.Want(t, "Topic", m.Topic(), "orders")
	wantErr(t, "Touch", m.Touch(), nil)
	check.Want(t, "touched", s.touched.Load(), 1)
	for key := range m.Headers() {
		check.Want(t, "first", key, "tenant")
		break
	}

	got := 0
	h := handler.Typed(decodeInt, func(ctx context.Context, v int) error {
		got = v
		check.Want(t, "Header in the handler", handler.FromContext(ctx).Header("tenant"), "acme")
		return nil
	})
	wantErr(t, "answer", h(m.Context(), m), nil)
	check.Want(t, "value", got, 42)
}

func TestPlainBodyHasNoHeaders(t *testing.T) {
	m := newSource(t).message("42")
	check.Want(t, "Body", string(m.Body), "42")
	check.Want(t, "RawBody", &m.RawBody()[0] == &m.Body[0], true)
	check.Want(t, "Header", m.Header("tenant"), "")
	check.Want(t, "Headers", list(m.Headers()), "")

	var zero handler.Message
	check.Want(t, "RawBody of none", zero.RawBody() == nil, true)
	check.Want(t, "Header of none", zero.Header("tenant"), "")
	check.Want(t, "Headers of none", list(zero.Headers()), "")
}

// Without a source the body stays as it is.
func TestEnvelopeWithoutSource(t *testing.T) {
	var m handler.Message
	body := withHeaders(t, "42", "a", "1")
	delivery(&m).Init(nil, testID, 1, 0, []byte(body))
	check.Want(t, "Source", delivery(&m).Source(), nil)
	check.Want(t, "Body", string(m.Body), body)
	check.Want(t, "Topic", m.Topic(), "")
}

func TestEmptyPayload(t *testing.T) {
	body := withHeaders(t, "", "a", "1")
	m := newSource(t).message(body)
	check.Want(t, "Body", string(m.Body), "")
	check.Want(t, "RawBody", string(m.RawBody()), body)
	check.Want(t, "Header", m.Header("a"), "1")
}

func TestHeadersOfWithBody(t *testing.T) {
	body := withHeaders(t, "sealed", "tenant", "acme")
	m := newSource(t).message(body)
	inner := withHeaders(t, "opened", "tenant", "other")
	d := m.WithBody([]byte(inner)).WithBody([]byte(inner))
	check.Want(t, "Body is as it was passed on", string(d.Body), inner)
	check.Want(t, "RawBody", string(d.RawBody()), body)
	check.Want(t, "Header", d.Header("tenant"), "acme")
	check.Want(t, "Headers", list(d.Headers()), "tenant=acme")
	check.Want(t, "Source", delivery(d).Source(), delivery(m).Source())
	delivery(d).Release()
	check.Want(t, "Header after its Release", m.Header("tenant"), "acme")
	delivery(m).Release()
	check.Want(t, "Header after Release", d.Header("tenant"), "")

	plain := newSource(t).message("sealed")
	check.Want(t, "RawBody of plain", string(plain.WithBody([]byte("opened")).RawBody()), "sealed")
}

func TestHeadersEndWithRelease(t *testing.T) {
	freed := false
	var m handler.Message
	delivery(&m).Init(&handler.Read{Source: newSource(t), Free: func() { freed = true }}, testID, 1, 0, []byte(withHeaders(t, "42", "a", "1")))
	headers := m.Headers()
	delivery(&m).Release()
	check.Want(t, "Body", m.Body == nil, true)
	check.Want(t, "RawBody", m.RawBody() == nil, true)
	check.Want(t, "Header", m.Header("a"), "")
	check.Want(t, "Headers", list(headers), "")
	check.Want(t, "freed", freed, true)
}

// A reader that races with Release gets a header or none, never other memory.
func TestHeaderWhileReleased(t *testing.T) {
	s := newSource(t)
	for range 100 {
		body := []byte(withHeaders(t, "42", "tenant", "acme"))
		var m handler.Message
		delivery(&m).Init(&handler.Read{Source: s, Free: func() { clear(body) }}, testID, 1, 0, body)
		var done sync.WaitGroup
		for range 4 {
			done.Go(func() {
				if got := m.Header("tenant"); got != "" && got != "acme" {
					t.Errorf("Header: got %q", got)
				}
				if got := list(m.Headers()); got != "" && got != "tenant=acme" {
					t.Errorf("Headers: got %q", got)
				}
			})
		}
		delivery(&m).Release()
		done.Wait()
	}
}

func TestUnreadableEnvelope(t *testing.T) {
	good := withHeaders(t, "42", "!sealed", "k", "tenant", "acme")
	for name, c := range map[string]struct {
		body   string
		err    error
		tenant string
	}{
		"malformed":   {good[:20], envelope.ErrMalformed, ""},
		"newer":       {strings.Replace(good, "\x11", "\x12", 1), envelope.ErrVersion, ""},
		"unsupported": {good, envelope.ErrUnsupported, "acme"},
	} {
		t.Run(name, func(t *testing.T) {
			decoded := false
			dec := decoderFunc[int](func([]byte) (int, error) { decoded = true; return 0, nil })
			h := handler.Typed(dec, func(context.Context, int) error {
				t.Error("the handler was called")
				return nil
			})
			seen := false
			middleware := func(ctx context.Context, m *handler.Message) error {
				seen = true
				return h(ctx, m)
			}
			m := newSource(t).message(c.body)
			err := middleware(m.Context(), m)
			var de *handler.DecodeError
			var fe *envelope.FormatError
			if !errors.As(err, &de) || !errors.As(err, &fe) {
				t.Fatalf("got %v, want a DecodeError of a FormatError", err)
			}
			wantErr(t, "kind", err, c.err)
			check.Want(t, "text", strings.HasPrefix(err.Error(), "nsqx: payload does not decode: "+c.err.Error()), true)
			check.Want(t, "middleware sees it", seen, true)
			check.Want(t, "decoded", decoded, false)
			check.Want(t, "Body", string(m.Body), c.body)
			check.Want(t, "RawBody", string(m.RawBody()), c.body)
			check.Want(t, "Header", m.Header("tenant"), c.tenant)
			check.Want(t, "Claimed", delivery(m).Claimed(), false)
			check.Want(t, "Answerable", delivery(m).Answerable(), true)

			// Middleware that can read the envelope passes on the payload.
			wantErr(t, "answer", handler.Typed(decodeInt, func(context.Context, int) error { return nil })(m.Context(), m.WithBody([]byte("7"))), nil)
		})
	}
}

func TestPrintingOmitsHeaders(t *testing.T) {
	m := newSource(t).message(withHeaders(t, "card number", "authorization", "s3cret"))
	ctx, cancel := context.WithCancel(handler.WithHeader(m.Context(), "authorization", "s3cret"))
	defer cancel()
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("got", "message", m)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("got", "message", m)
	texts := []string{out.String()}
	for _, v := range []any{m, m.Context(), ctx, m.WithBody([]byte("x")), delivery(m)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
	}
	for _, text := range texts {
		if strings.Contains(text, "s3cret") || strings.Contains(text, "card") || strings.Contains(text, fmt.Sprint([]byte("s3cret"))[1:10]) {
			t.Errorf("a header or the body shows: %s", text)
		}
	}
}

// Headers cost a message one small allocation, and a plain message none.
func TestEnvelopeAllocations(t *testing.T) {
	s := newSource(t)
	handle := handler.Typed(bytesDecoder{}, func(context.Context, []byte) error { return nil })
	for name, c := range map[string]struct {
		body string
		most float64
	}{
		"plain":         {"42", 0},
		"with headers":  {withHeaders(t, "42", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), 1},
		"empty payload": {withHeaders(t, "", "a", "1"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(c.body)
			msgs, reads := make([]handler.Message, 300), make([]handler.Read, 300)
			i := 0
			wantAllocs(t, "one message", c.most, func() {
				m, r := &msgs[i], &reads[i]
				i++
				r.Source, r.At, r.Free = s, s.terms.Now(), func() {}
				delivery(m).Init(r, testID, 1, 0, body)
				if err := handle(m.Context(), m); err != nil {
					t.Error(err)
				}
				h, _, _ := envelope.Split(m.RawBody())
				h.Get("traceparent")
				delivery(m).Release()
			})
		})
	}
}

// BenchmarkInit measures Init, as called by a read loop, and Release.
func BenchmarkInit(b *testing.B) {
	s := newSource(b)
	for name, body := range map[string]string{
		"plain":    `{"id":7,"amount":100}`,
		"envelope": withHeaders(b, `{"id":7,"amount":100}`, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
	} {
		b.Run(name, func(b *testing.B) {
			body := []byte(body)
			const together = 32
			var msgs []handler.Message
			var reads []handler.Read
			b.ReportAllocs()
			for b.Loop() {
				if len(msgs) == 0 {
					msgs = make([]handler.Message, together)
					reads = make([]handler.Read, together)
				}
				m, r := &msgs[0], &reads[0]
				msgs, reads = msgs[1:], reads[1:]
				r.Source, r.At = s, time.Second
				delivery(m).Init(r, testID, 1, 0, body)
				delivery(m).Release()
			}
		})
	}
}
