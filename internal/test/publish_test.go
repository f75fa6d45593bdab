package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestSend: Send chooses PUB, MPUB or DPUB, and refuses what nsqd would refuse.
func TestSend(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := newPublisher(t, []*nsqxtest.Server{s})
		wantKind(t, p.Send(t.Context(), message("orders", "a")), nil)
		wantKind(t, p.Send(t.Context(), message("mail", "b", "c")), nil)
		delayed := message("later", "d")
		delayed.Delay = time.Minute
		wantKind(t, p.Send(t.Context(), delayed), nil)
		var heard []string
		for _, cmd := range s.Commands("PUB", "MPUB", "DPUB") {
			heard = append(heard, cmd.String())
		}
		want(t, "heard", strings.Join(heard, ", "), "PUB orders, MPUB mail, DPUB later 60000")
		for _, out := range []*handler.Outgoing{
			message("orders"), message("orders", ""), message("or/ders", "x"), message("", "x"),
			message("orders", strings.Repeat("x", 1<<20+1)), message("orders", "x", ""),
			{Topic: "orders", Messages: []handler.OutgoingMessage{{Body: []byte{1}}, {Body: []byte{2}}}, Delay: 1}, {Topic: "orders", Messages: []handler.OutgoingMessage{{Body: []byte{1}}}, Delay: -1},
		} {
			wantKind(t, p.Send(t.Context(), out), nsqx.ErrRejected)
		}
		want(t, "commands", commands(s), 3)
		st := p.Stats()
		want(t, "confirmed", st.Confirmed, 4)
		want(t, "rejected", st.Rejected, 9)
		want(t, "in flight", st.InFlight, 0)
		want(t, "published", st.Connections[0].Published, 4)
		want(t, "connected", st.Connections[0].Connected, true)
		want(t, "dials", st.Connections[0].Dials, 1)
		want(t, "address", st.Connections[0].Addr, s.Addr())
	})
}

// TestSharedPublisher: telemetry is outermost, then the middleware of the publisher, then that of
// the producer.
func TestSharedPublisher(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		calls := &synced[string]{}
		o := &publisherTelemetry{send: recordCalls(calls, "telemetry")}
		pub := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithTelemetry(o), nsqx.WithConn(conn.Config{ClientID: "me"}),
			nsqx.WithSendMiddleware(recordCalls(calls, "p1"), nil), nsqx.WithSendMiddleware(recordCalls(calls, "p2")))
		a := newProducer(t, nsqx.WithPublisher(pub), nsqx.WithSendMiddleware(recordCalls(calls, "a")))
		b, err := nsqx.NewProducer("mail", codec.Bytes(), nsqx.WithPublisher(pub))
		if err != nil {
			t.Fatal(err)
		}
		want(t, "infos", fmt.Sprint(o.infos.all()), "[{ me} {orders me} {mail me}]")
		wantKind(t, a.Publish(t.Context(), "x"), nil)
		want(t, "calls", strings.Join(calls.all(), " "), "telemetry p1 p2 a /a /p2 /p1 /telemetry")
		wantKind(t, b.Publish(t.Context(), []byte("y")), nil)
		wantKind(t, sendTo(t.Context(), pub, "any", "z"), nil)
		want(t, "calls", strings.Join(calls.all()[8:], " "), strings.Repeat("telemetry p1 p2 /p2 /p1 /telemetry ", 2)[:69])
		want(t, "dials", s.Dials(), 1)
		want(t, "confirmed", o.stats().Confirmed, 3)
		want(t, "confirmed, of a producer", b.Stats().Confirmed, 3)

		wantErr(t, "Shutdown", a.Shutdown(t.Context()), nil)
		wantKind(t, a.Publish(t.Context(), "x"), nsqx.ErrNotSent)
		wantKind(t, b.Publish(t.Context(), []byte("y")), nil)
		want(t, "observed", o.active, 1)
		wantErr(t, "Shutdown", pub.Shutdown(t.Context()), nil)
		want(t, "observed", o.active, 0)
		wantKind(t, b.Publish(t.Context(), []byte("y")), nsqx.ErrNotSent)
		wantErr(t, "Shutdown", b.Shutdown(t.Context()), nil)
	})
}

// TestMiddlewareDecides: middleware may change a publish, or refuse it.
func TestMiddlewareDecides(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		mw := func(next handler.Send) handler.Send {
			return func(ctx context.Context, out *handler.Outgoing) error {
				if string(out.Messages[0].Body) == "stop" {
					return errOther
				}
				out.Topic += ".v2"
				out.Messages[0].Body = []byte(strings.ToUpper(string(out.Messages[0].Body)))
				return next(ctx, out)
			}
		}
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithSendMiddleware(mw))
		wantKind(t, p.Publish(t.Context(), "x"), nil)
		want(t, "published", published(s, "orders.v2"), "X")
		want(t, "error of the middleware", p.Publish(t.Context(), "stop"), errOther)
	})
}

// TestPublisherHealth: Healthy follows the connections.
func TestPublisherHealth(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := newPublisher(t, []*nsqxtest.Server{s})
		wantErr(t, "connected", p.Healthy(), nil)
		s.Refuse(true)
		s.Disconnect()
		synctest.Wait()
		err := p.Healthy()
		wantErr(t, "lost", err, nsqx.ErrNoNSQD)
		if !strings.Contains(err.Error(), s.Addr()) {
			t.Errorf("%v does not say why", err)
		}
		st := p.Stats().Connections[0]
		want(t, "connected", st.Connected, false)
		if st.LastErr == nil || !st.RetryAt.After(time.Now()) {
			t.Errorf("stats are %+v", st)
		}
		s.Refuse(false)
		time.Sleep(10 * time.Second)
		wantErr(t, "back", p.Healthy(), nil)
		want(t, "last error", p.Stats().Connections[0].LastErr, nil)
	})
}

// TestProducerPublish: a publish is confirmed or refused, and after Shutdown not sent.
func TestProducerPublish(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p, err := nsqx.NewProducer("orders", codec.JSON[map[string]int](), s.Option(), nsqx.WithLogger(discard))
		if err != nil {
			t.Fatal(err)
		}
		none := map[string]int{}
		wantErr(t, "ping", p.Ping(t.Context()), nil)
		wantErr(t, "healthy", p.Healthy(), nil)
		wantKind(t, p.Publish(t.Context(), map[string]int{"id": 7}), nil)
		wantKind(t, p.PublishAfter(t.Context(), 1500*time.Microsecond, map[string]int{"id": 8}), nil)
		want(t, "published", published(s, "orders"), `{"id":7} {"id":8}`)
		want(t, "delay", s.Published("orders")[1].Delay, 2*time.Millisecond)
		wantKind(t, p.PublishAfter(t.Context(), -1, none), nsqx.ErrRejected)
		wantKind(t, p.PublishAfter(t.Context(), time.Hour+1, none), nsqx.ErrRejected)
		st := p.Stats()
		want(t, "confirmed", st.Confirmed, 2)
		want(t, "rejected", st.Rejected, 2)
		want(t, "published", st.Connections[0].Published, 2)
		wantErr(t, "Shutdown", p.Shutdown(t.Context()), nil)
		wantErr(t, "Shutdown again", p.Shutdown(t.Context()), nil)
		wantKind(t, p.Publish(t.Context(), none), nsqx.ErrNotSent)
		wantKind(t, p.PublishAsync(t.Context(), none, nil), nsqx.ErrNotSent)
		_, err = p.PublishAll(t.Context(), []map[string]int{none})
		wantKind(t, err, nsqx.ErrNotSent)
		wantErr(t, "health", p.Healthy(), nsqx.ErrNotRunning)
		if p.Ping(t.Context()) == nil {
			t.Error("it can be reached")
		}
		want(t, "commands", commands(s), 2)
	})
}

// TestUnencodable: if one value does not encode, nothing is sent; a panic of the codec is an error.
func TestUnencodable(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p, err := nsqx.NewProducer("orders", picky, s.Option(), nsqx.WithLogger(discard))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Shutdown(t.Context())
		for _, bad := range []string{"bad", "worse"} {
			for _, err := range []error{
				p.Publish(t.Context(), bad),
				p.PublishAfter(t.Context(), time.Second, bad),
				p.PublishAsync(t.Context(), bad, func(error) { t.Error("done was called") }),
			} {
				wantKind(t, err, nsqx.ErrRejected)
				wantErr(t, "why", err, errEncode)
				if e, ok := errors.AsType[*nsqx.PublishError](err); !ok || e.Topic != "orders" {
					t.Errorf("error is %v", err)
				}
				_, ok := errors.AsType[*handler.PanicError](err)
				want(t, "is a panic", ok, bad == "worse")
			}
			n, err := p.PublishAll(t.Context(), []string{"a", bad, "c"})
			wantKind(t, err, nsqx.ErrRejected)
			want(t, "confirmed", n, 0)
		}
		_, err = p.PublishAll(t.Context(), []string{"aaa", "forgets", "b"})
		wantKind(t, err, nsqx.ErrRejected)
		wantKind(t, p.Publish(t.Context(), ""), nsqx.ErrRejected)
		n, err := p.PublishAll(t.Context(), []string{"a", "", "c"})
		wantKind(t, err, nsqx.ErrRejected)
		want(t, "confirmed", n, 0)
		n, err = p.PublishAll(t.Context(), nil)
		wantKind(t, err, nil)
		want(t, "confirmed", n, 0)
		want(t, "commands", commands(s), 0)
		want(t, "rejected", p.Stats().Rejected, 2*(3+3)+3+1+3)
	})
}

// TestPublishAll: the values are split at nsqd's limit. If a later command fails, the result says
// how many are confirmed.
func TestPublishAll(t *testing.T) {
	limit := nsqx.WithConn(conn.Config{MaxBodySize: 4 + 3*6})
	for name, tt := range map[string]struct {
		actions []nsqxtest.Action
		n       int
		kind    error
		heard   string
	}{
		"all":              {nil, 7, nil, "MPUB MPUB PUB"},
		"first refused":    {[]nsqxtest.Action{nsqxtest.Fail("E_BAD_BODY")}, 0, nsqx.ErrRejected, "MPUB"},
		"second refused":   {[]nsqxtest.Action{{}, nsqxtest.Fail("E_MPUB_FAILED")}, 3, nsqx.ErrUnconfirmed, "MPUB MPUB"},
		"third is cut":     {[]nsqxtest.Action{{}, {}, nsqxtest.HangUp()}, 6, nsqx.ErrUnconfirmed, "MPUB MPUB PUB"},
		"second not taken": {[]nsqxtest.Action{{}, nsqxtest.Fail("E_AUTH_FAILED")}, 7, nil, "MPUB MPUB MPUB PUB"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			onPublish(sequence(tt.actions...), s)
			p := newProducer(t, s.Option(), limit, nsqx.WithLogger(discard))
			n, err := p.PublishAll(t.Context(), numbered(7))
			wantKind(t, err, tt.kind)
			want(t, "n", n, tt.n)
			var heard []string
			for _, cmd := range s.Commands("PUB", "MPUB") {
				heard = append(heard, cmd.Name)
			}
			want(t, "heard", strings.Join(heard, " "), tt.heard)
			want(t, "published", published(s, "orders"), strings.Join(numbered(7)[:tt.n], " "))
			st := p.Stats()
			want(t, "confirmed", st.Confirmed, uint64(tt.n))
			want(t, "failed", st.Rejected+st.Unconfirmed+st.NotSent, uint64(7-tt.n))
		})
	}
}

// TestPublishAllRefusesBeforeItSends: if one body is too large for nsqd, nothing is sent.
func TestPublishAllRefusesBeforeItSends(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := newProducer(t, s.Option(), nsqx.WithConn(conn.Config{MaxMessageSize: 100, MaxBodySize: 60}), nsqx.WithLogger(discard))
		values := append(numbered(50), strings.Repeat("x", 101))
		n, err := p.PublishAll(t.Context(), values)
		wantKind(t, err, nsqx.ErrRejected)
		want(t, "n", n, 0)
		want(t, "commands", commands(s), 0)
		values[50] = strings.Repeat("x", 100) // too large for an MPUB, so it gets a command of its own
		n, err = p.PublishAll(t.Context(), values)
		wantKind(t, err, nil)
		want(t, "n", n, 51)
		want(t, "published", published(s, "orders"), strings.Join(values, " "))
	})
}
