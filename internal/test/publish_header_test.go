package test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// TestOwnHeaders: each message of an MPUB has the common headers and its own, which win.
func TestOwnHeaders(t *testing.T) {
	for name, tt := range map[string]struct {
		common string
		own    []string
		want   []string
	}{
		"each has its own": {"", []string{"k=0", "k=1", "k=2"}, []string{"k=0", "k=1", "k=2"}},
		"beside common ones": {
			"a=1 b=2", []string{"k=0", "k=1"}, []string{"a=1 b=2 k=0", "a=1 b=2 k=1"},
		},
		"own wins": {
			"a=1 b=2", []string{"a=own", "B=own c=3"}, []string{"a=own b=2", "a=1 b=own c=3"},
		},
		"some have none": {
			"a=1", []string{"", "a=own k=1", "", "k=3"}, []string{"a=1", "a=own k=1", "a=1", "a=1 k=3"},
		},
		"none is common, some have none": {"", []string{"", "k=1", ""}, []string{"", "k=1", ""}},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			p := newPublisher(t, []*nsqxtest.Server{s})
			out := outgoingWith(t, tt.common, tt.own...)
			before := out.Headers.Len()
			wantKind(t, p.Send(t.Context(), out), nil)
			want(t, "commands", len(s.Commands("MPUB")), 1)
			for i, got := range s.Published("orders") {
				all, payload := headers(t, got.Body)
				want(t, "headers", all, tt.want[i])
				want(t, "payload", payload, numbered(i + 1)[i])
			}
			want(t, "common headers after the publish", out.Headers.Len(), before)
			want(t, "body after the publish", string(out.Messages[0].Body), "m0")
		})
	}
}

// TestOwnHeadersWithoutAnEnvelope: without an envelope no headers are published, since consumers
// may not know envelopes.
func TestOwnHeadersWithoutAnEnvelope(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := newPublisher(t, []*nsqxtest.Server{s})
		out := outgoingWith(t, "a=1", "k=0", "k=1")
		out.Envelope = false
		wantKind(t, p.Send(t.Context(), out), nil)
		want(t, "published", published(s, "orders"), "m0 m1")
	})
}

// stampSize is how many bytes of headers the id and the time of a message take at the start of a
// bubble.
const stampSize = 4 + len(envelope.ID) + 36 - 1 + 4 + len(envelope.Published) + len("2000-01-01T00:00:00Z") - 1

// TestOwnHeadersCountForTheSize: common and own headers count against MaxMessageSize. A message
// that they would make too large goes without those that are not required.
func TestOwnHeadersCountForTheSize(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		both := outgoingWith(t, "a=1 b=2 k=0", "")
		limit := both.Headers.Size(both.Messages[0].Body) + stampSize
		p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithConn(conn.Config{MaxMessageSize: limit}))
		wantKind(t, p.Send(t.Context(), outgoingWith(t, "a=1 b=2", "k=0", "k=11", "", "b=3")), nil)
		for i, wanted := range []string{"a=1 b=2 k=0", "", "a=1 b=2", "a=1 b=3"} {
			all, payload := headers(t, s.Published("orders")[i].Body)
			want(t, "headers", all, wanted)
			want(t, "payload", payload, numbered(i + 1)[i])
		}
		want(t, "counted", p.Stats().EnvelopesSkipped, 1) // though with its id
	})
}

// TestOwnHeadersCountForTheLimit: the limit of headers applies to both together. A limit of the
// message replaces the common one.
func TestOwnHeadersCountForTheLimit(t *testing.T) {
	const perHeader = 1 + 1 + 2 + 1 // bytes of "k=1" in an envelope
	for name, tt := range map[string]struct {
		common, own int // limits, in headers
		headers     string
		want        string
	}{
		"the common one":                    {2, 0, "a=1 b=2", "a=1 b=2"},
		"that of the message":               {2, 3, "a=1 b=2", "a=1 b=2 k=0"},
		"a lower one of the message":        {3, 1, "a=1 b=2", "a=1"},
		"the common one, none being common": {1, 0, "", "k=0"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			p := newPublisher(t, []*nsqxtest.Server{s})
			out := outgoingWith(t, tt.headers, "k=0", "")
			if tt.headers == "" {
				wantErr(t, "Set", out.Messages[0].Headers.Set("l", "1"), nil)
			}
			out.Headers.Limit = tt.common*perHeader + stampSize
			if tt.own > 0 {
				out.Messages[0].Headers.Limit = tt.own*perHeader + stampSize
			}
			wantKind(t, p.Send(t.Context(), out), nil)
			all, _ := headers(t, s.Published("orders")[0].Body)
			want(t, "headers", all, tt.want)
		})
	}
}

// TestEnvelope: headers are published with WithEnvelope only.
func TestEnvelope(t *testing.T) {
	add := func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			if err := out.Headers.Set("B", "2"); err != nil {
				return err
			}
			return next(ctx, out)
		}
	}
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		plain := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithSendMiddleware(add))
		p := newProducer(t, nsqx.WithPublisher(plain), nsqx.WithEnvelope())
		ctx := handler.WithHeader(t.Context(), "A", "1")
		wantKind(t, p.Publish(ctx, "x"), nil)
		n, err := p.PublishAll(ctx, []string{"y", "z"})
		wantKind(t, err, nil)
		want(t, "n", n, 2)
		wantKind(t, p.PublishAfter(ctx, time.Second, "w"), nil)
		for i, body := range []string{"x", "y", "z", "w"} {
			all, payload := headers(t, s.Published("orders")[i].Body)
			want(t, "headers", strings.TrimPrefix(all, "nsqx-not-before=2000-01-01T00:00:01Z "), "a=1 b=2")
			want(t, "payload", payload, body)
		}
		wantKind(t, sendTo(ctx, plain, "plain", "x"), nil)
		want(t, "without an envelope", published(s, "plain"), "x")

		err = p.Publish(handler.WithHeader(ctx, "a b", "1"), "x")
		wantKind(t, err, nsqx.ErrRejected)
		if _, ok := errors.AsType[*envelope.HeaderError](err); !ok {
			t.Errorf("error is %v", err)
		}
		want(t, "rejected", p.Stats().Rejected, 1)
	})
	bubble(t, "too large with it", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithConn(conn.Config{MaxMessageSize: 140}), nsqx.WithEnvelope())
		ctx := handler.WithHeader(t.Context(), "a", "1")
		wantKind(t, p.Publish(ctx, "x"), nil)
		header := len(s.Published("orders")[0].Body) - 1
		fits, not := strings.Repeat("f", 140-header), strings.Repeat("n", 141-header)
		wantKind(t, p.Publish(ctx, fits), nil)
		wantKind(t, p.Publish(ctx, not), nil)
		all, payload := headers(t, s.Published("orders")[1].Body)
		want(t, "with its header", all+" "+payload, "a=1 "+fits)
		all, payload = headers(t, s.Published("orders")[2].Body)
		want(t, "with its id alone", all+" "+payload, " "+not)
		want(t, "counted", p.Stats().EnvelopesSkipped, 1)
		wantKind(t, p.Publish(ctx, strings.Repeat("x", 141)), nsqx.ErrRejected)
	})
}

// TestPayloadLikeAnEnvelope: a payload that begins like an envelope reaches the handler as it is,
// also by way of a dead letter and a redrive. WithoutEnvelopes passes any body as it is.
func TestPayloadLikeAnEnvelope(t *testing.T) {
	payloads := map[string]string{
		"an envelope": string(withHeaders("7", "k", "1")), "malformed": "\xC1\xCE\xD3\xD1\x11\x80\x85abcde",
		"a newer one": "\xC1\xCE\xD3\xD1\x12\x80\x80payload", "its first bytes": "\xC1\xCE\xD3\xD1\x11\x80\x80",
	}
	for name, payload := range payloads {
		for way, opts := range map[string][]nsqx.ProducerOption{"plain": nil, "with headers": {nsqx.WithEnvelope()}} {
			bubble(t, name+", "+way, func(t *testing.T) {
				s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
				var got synced[string]
				var sick atomic.Bool
				sick.Store(true)
				consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
					got.add(handler.FromContext(ctx).Header("a") + " " + body)
					if sick.Load() {
						return retry.Permanent(errBill)
					}
					return nil
				}, dead)
				time.Sleep(headStart)
				p := newProducer(t, append(opts, s.Option(), nsqx.WithLogger(discard))...)
				wantKind(t, p.Publish(handler.WithHeader(t.Context(), "a", "1"), payload), nil)
				s.Await("orders", "billing", finished(1))
				sick.Store(false)
				time.Sleep(headStart)
				report, err := nsqx.Redrive(t.Context(), "dead", "", s.Option(), nsqx.WithLogger(discard))
				want(t, "report", report, nsqx.RedriveReport{Redriven: 1})
				wantErr(t, "error", err, nil)
				header := ""
				if opts != nil {
					header = "1"
				}
				want(t, "handled", strings.Join(got.all(), "|"), header+" "+payload+"|"+header+" "+payload)
			})
		}
		bubble(t, name+", foreign", func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
			var got synced[string]
			consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, body string) error {
				got.add(handler.FromContext(ctx).Header("k") + body)
				if len(got.all()) > 1 {
					return nil
				}
				return retry.Permanent(errBill)
			}, dead, nsqx.WithoutEnvelopes())
			s.Publish("orders", []byte(payload))
			s.Await("orders", "billing", finished(1))
			time.Sleep(headStart)
			report, err := nsqx.Redrive(t.Context(), "dead", "", s.Option(), nsqx.WithLogger(discard), nsqx.WithRedriveAllChannels())
			want(t, "report", report, nsqx.RedriveReport{Redriven: 1})
			wantErr(t, "error", err, nil)
			want(t, "redriven", published(s, "orders"), payload)
			want(t, "handled", strings.Join(got.all(), "|"), payload+"|"+payload)
		})
	}
}

// TestRequiredHeader: a publish without room for a header that is required, or without WithEnvelope,
// is rejected.
func TestRequiredHeader(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		ctx := handler.WithHeader(t.Context(), envelope.RedriveChannel, "orders/billing")
		plain := newProducer(t, s.Option(), nsqx.WithLogger(discard))
		wantKind(t, plain.Publish(ctx, "x"), nsqx.ErrRejected)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithEnvelope(), nsqx.WithConn(conn.Config{MaxMessageSize: 100}))
		wantKind(t, p.Publish(ctx, "x"), nil)
		wantKind(t, p.Publish(ctx, strings.Repeat("x", 40)), nsqx.ErrRejected)
		wantKind(t, p.Publish(t.Context(), strings.Repeat("x", 40)), nil)
		want(t, "rejected", p.Stats().Rejected+plain.Stats().Rejected, 2)
	})
}
