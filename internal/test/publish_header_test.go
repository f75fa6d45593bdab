package test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
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
// that they would make too large goes without any.
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
		want(t, "counted", p.Stats().EnvelopesSkipped, 1)
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
		want(t, "without", string(s.Published("orders")[2].Body), not)
		want(t, "counted", p.Stats().EnvelopesSkipped, 1)
		wantKind(t, p.Publish(ctx, strings.Repeat("x", 141)), nsqx.ErrRejected)
	})
}
