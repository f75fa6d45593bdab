package handler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// sealed puts a payload into an envelope with headers: keys and values in turn.
func sealed(t testing.TB, payload string, pairs ...string) string {
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

func TestEnvelopeIsTakenOff(t *testing.T) {
	s := newSource(t)
	body := sealed(t, "42", "tenant", "acme", "Trace", "1")
	m := s.message(body)
	want(t, "Body", string(m.Body), "42")
	want(t, "RawBody", string(m.RawBody()), body)
	want(t, "Header", m.Header("Tenant"), "acme")
	want(t, "a header that is not there", m.Header("nobody"), "")
	want(t, "Headers", list(m.Headers()), "tenant=acme trace=1")
	want(t, "Source", (*handler.Delivery)(m).Source(), handler.Source(s))
	want(t, "Topic", m.Topic(), "orders")
	wantErr(t, "Touch", m.Touch(), nil)
	want(t, "touched", s.touched.Load(), 1)
	for key := range m.Headers() {
		want(t, "first", key, "tenant")
		break
	}

	got := 0
	h := handler.Typed(decodeInt, func(ctx context.Context, v int) error {
		got = v
		want(t, "Header in the handler", handler.FromContext(ctx).Header("tenant"), "acme")
		return nil
	})
	wantErr(t, "answer", h(m.Context(), m), nil)
	want(t, "value", got, 42)
}

func TestPlainBodyHasNoHeaders(t *testing.T) {
	m := newSource(t).message("42")
	want(t, "Body", string(m.Body), "42")
	want(t, "RawBody", &m.RawBody()[0] == &m.Body[0], true)
	want(t, "Header", m.Header("tenant"), "")
	want(t, "Headers", list(m.Headers()), "")

	var zero handler.Message
	want(t, "RawBody of none", zero.RawBody() == nil, true)
	want(t, "Header of none", zero.Header("tenant"), "")
	want(t, "Headers of none", list(zero.Headers()), "")
}

// A message that comes from nowhere still says so.
func TestEnvelopeWithoutSource(t *testing.T) {
	var m handler.Message
	body := sealed(t, "42", "a", "1")
	(*handler.Delivery)(&m).Init(nil, testID, 1, 0, []byte(body))
	want(t, "Source", (*handler.Delivery)(&m).Source(), nil)
	want(t, "Body", string(m.Body), body)
	want(t, "Topic", m.Topic(), "")
}

func TestEmptyPayload(t *testing.T) {
	body := sealed(t, "", "a", "1")
	m := newSource(t).message(body)
	want(t, "Body", string(m.Body), "")
	want(t, "RawBody", string(m.RawBody()), body)
	want(t, "Header", m.Header("a"), "1")
}

func TestHeadersOfWithBody(t *testing.T) {
	body := sealed(t, "sealed", "tenant", "acme")
	m := newSource(t).message(body)
	inner := sealed(t, "opened", "tenant", "other")
	d := m.WithBody([]byte(inner)).WithBody([]byte(inner))
	want(t, "Body is as it was handed on", string(d.Body), inner)
	want(t, "RawBody", string(d.RawBody()), body)
	want(t, "Header", d.Header("tenant"), "acme")
	want(t, "Headers", list(d.Headers()), "tenant=acme")
	want(t, "Source", (*handler.Delivery)(d).Source(), (*handler.Delivery)(m).Source())
	(*handler.Delivery)(d).Release()
	want(t, "Header after its Release", m.Header("tenant"), "acme")
	(*handler.Delivery)(m).Release()
	want(t, "Header after Release", d.Header("tenant"), "")

	plain := newSource(t).message("sealed")
	want(t, "RawBody of plain", string(plain.WithBody([]byte("opened")).RawBody()), "sealed")
}

func TestHeadersEndWithRelease(t *testing.T) {
	freed := false
	var m handler.Message
	(*handler.Delivery)(&m).Init(&handler.Read{Source: newSource(t), Free: func() { freed = true }}, testID, 1, 0, []byte(sealed(t, "42", "a", "1")))
	headers := m.Headers()
	(*handler.Delivery)(&m).Release()
	want(t, "Body", m.Body == nil, true)
	want(t, "RawBody", m.RawBody() == nil, true)
	want(t, "Header", m.Header("a"), "")
	want(t, "Headers", list(headers), "")
	want(t, "freed", freed, true)
}

// Whoever still asks when the message is released gets a header or none, and
// never what other memory holds by then.
func TestHeaderWhileReleased(t *testing.T) {
	s := newSource(t)
	for range 100 {
		body := []byte(sealed(t, "42", "tenant", "acme"))
		var m handler.Message
		(*handler.Delivery)(&m).Init(&handler.Read{Source: s, Free: func() { clear(body) }}, testID, 1, 0, body)
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
		(*handler.Delivery)(&m).Release()
		done.Wait()
	}
}

func TestUnreadableEnvelope(t *testing.T) {
	good := sealed(t, "42", "!sealed", "k", "tenant", "acme")
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
			want(t, "text", strings.HasPrefix(err.Error(), "nsqx: payload does not decode: "+c.err.Error()), true)
			want(t, "middleware sees it", seen, true)
			want(t, "decoded", decoded, false)
			want(t, "Body", string(m.Body), c.body)
			want(t, "RawBody", string(m.RawBody()), c.body)
			want(t, "Header", m.Header("tenant"), c.tenant)
			want(t, "Claimed", (*handler.Delivery)(m).Claimed(), false)
			want(t, "Answerable", (*handler.Delivery)(m).Answerable(), true)

			// Middleware that understands it hands on what it has read.
			wantErr(t, "answer", handler.Typed(decodeInt, func(context.Context, int) error { return nil })(m.Context(), m.WithBody([]byte("7"))), nil)
		})
	}
}

func TestPrintingShowsNoHeader(t *testing.T) {
	m := newSource(t).message(sealed(t, "card number", "authorization", "s3cret"))
	ctx, cancel := context.WithCancel(handler.WithHeader(m.Context(), "authorization", "s3cret"))
	defer cancel()
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("got", "message", m)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("got", "message", m)
	texts := []string{out.String()}
	for _, v := range []any{m, m.Context(), ctx, m.WithBody([]byte("x"))} {
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

// A plain message pays for headers with nothing, and one that has them with one
// small allocation.
func TestEnvelopeAllocations(t *testing.T) {
	s := newSource(t)
	handle := handler.Typed(bytesDecoder{}, func(context.Context, []byte) error { return nil })
	for name, c := range map[string]struct {
		body string
		most float64
	}{
		"plain":         {"42", 0},
		"with headers":  {sealed(t, "42", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), 1},
		"empty payload": {sealed(t, "", "a", "1"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(c.body)
			msgs, reads := make([]handler.Message, 300), make([]handler.Read, 300)
			i := 0
			wantAllocs(t, "one message", c.most, func() {
				m, r := &msgs[i], &reads[i]
				i++
				r.Source, r.At, r.Free = s, s.terms.Now(), func() {}
				(*handler.Delivery)(m).Init(r, testID, 1, 0, body)
				if err := handle(m.Context(), m); err != nil {
					t.Error(err)
				}
				h, _, _ := envelope.Split(m.RawBody())
				h.Get("traceparent")
				(*handler.Delivery)(m).Release()
			})
		})
	}
}
