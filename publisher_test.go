package nsqx_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

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

// order notes who was called, before and after.
func order(calls *synced[string], name string) handler.SendMiddleware {
	return func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			calls.add(name)
			defer calls.add("/" + name)
			return next(ctx, out)
		}
	}
}

// observer is a telemetry of publishers.
type observer struct {
	telemetry
	send   handler.SendMiddleware
	infos  synced[nsqx.ProducerInfo]
	stats  func() nsqx.PublisherStats
	active int
}

func (o *observer) Producer(info nsqx.ProducerInfo) handler.SendMiddleware {
	o.infos.add(info)
	return o.send
}

func (o *observer) ObservePublisher(stats func() nsqx.PublisherStats) (stop func()) {
	o.stats = stats
	o.active++
	return func() { o.active-- }
}

// TestSharedPublisher: telemetry stands outside of all, the publisher's middleware outside the producer's.
func TestSharedPublisher(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		calls := &synced[string]{}
		o := &observer{send: order(calls, "telemetry")}
		pub := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithTelemetry(o), nsqx.WithConn(conn.Config{ClientID: "me"}),
			nsqx.WithSendMiddleware(order(calls, "p1"), nil), nsqx.WithSendMiddleware(order(calls, "p2")))
		a := newProducer(t, nsqx.WithPublisher(pub), nsqx.WithSendMiddleware(order(calls, "a")))
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

		wantErr(t, "Close", a.Close(t.Context()), nil)
		wantKind(t, a.Publish(t.Context(), "x"), nsqx.ErrNotSent)
		wantKind(t, b.Publish(t.Context(), []byte("y")), nil)
		want(t, "observed", o.active, 1)
		wantErr(t, "Close", pub.Close(t.Context()), nil)
		want(t, "observed", o.active, 0)
		wantKind(t, b.Publish(t.Context(), []byte("y")), nsqx.ErrNotSent)
		wantErr(t, "Close", b.Close(t.Context()), nil)
	})
}

// TestMiddlewareDecides: it may change what goes out, and keep it back.
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

// headers reads the envelope that a server has got.
func headers(t *testing.T, body []byte) (all, payload string) {
	t.Helper()
	h, rest, err := envelope.Split(body)
	wantErr(t, "Split", err, nil)
	var list []string
	for k, v := range h.All() {
		list = append(list, k+"="+v)
	}
	return strings.Join(list, " "), string(rest)
}

// TestEnvelope: headers go out where consumers can read them, and nowhere else.
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
			want(t, "headers", all, "a=1 b=2")
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
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithConn(conn.Config{MaxMessageSize: 40}), nsqx.WithEnvelope())
		ctx := handler.WithHeader(t.Context(), "a", "1")
		wantKind(t, p.Publish(ctx, "x"), nil)
		header := len(s.Published("orders")[0].Body) - 1
		fits, not := strings.Repeat("f", 40-header), strings.Repeat("n", 41-header)
		wantKind(t, p.Publish(ctx, fits), nil)
		wantKind(t, p.Publish(ctx, not), nil)
		all, payload := headers(t, s.Published("orders")[1].Body)
		want(t, "with its header", all+" "+payload, "a=1 "+fits)
		want(t, "without", string(s.Published("orders")[2].Body), not)
		want(t, "counted", p.Stats().EnvelopesSkipped, 1)
		wantKind(t, p.Publish(ctx, strings.Repeat("x", 41)), nsqx.ErrRejected)
	})
	bubble(t, "no headers", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithEnvelope())
		wantKind(t, p.Publish(t.Context(), "x"), nil)
		want(t, "published", published(s, "orders"), "x")
	})
}

// TestCloseInOrder: what is under way is confirmed, what comes later is not sent, and connections end with a half-close.
func TestCloseInOrder(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		before := bubbled()
		servers := nsqxtest.NewServers(t, 2)
		onPublish(always(nsqxtest.Proceed().After(time.Second)), servers...)
		p := newPublisher(t, servers)
		var results []<-chan error
		for range 10 {
			results = append(results, inBackground(func() error { return sendTo(t.Context(), p, "orders", "x") }))
		}
		closed := inBackground(func() error { return p.Close(t.Context()) })
		wantKind(t, sendTo(t.Context(), p, "orders", "late"), nsqx.ErrNotSent)
		again := inBackground(func() error { return p.Close(t.Context()) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		wantErr(t, "a second Close whose ctx ends", p.Close(ctx), context.DeadlineExceeded)
		for _, result := range results {
			wantKind(t, <-result, nil)
		}
		wantErr(t, "Close", <-closed, nil)
		wantErr(t, "the second Close", <-again, nil)
		wantErr(t, "a third Close", p.Close(t.Context()), nil)
		wantErr(t, "health", p.Healthy(), nsqx.ErrNotRunning)
		wantErr(t, "flush", p.Flush(t.Context()), nil)
		for _, s := range servers {
			want(t, "connections", len(s.Conns()), 0)
			s.Close()
		}
		synctest.Wait()
		if n := bubbled(); n > before {
			t.Errorf("%d goroutines are left", n-before)
		}
	})
}

// bubbled is how many goroutines bubbles have: only one test has one at a time.
func bubbled() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), ", synctest bubble ")
}

// TestCloseWhileSendsWaitS13: each publish that is under way when ctx ends gets exactly one result.
func TestCloseWhileSendsWaitS13(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		servers := nsqxtest.NewServers(t, 2)
		servers[1].Refuse(true)
		onPublish(always(nsqxtest.Drop()), servers[0])
		p := newPublisher(t, servers, nsqx.WithAtLeastOnce(), nsqx.WithPublishTimeout(time.Hour))
		var sent []<-chan error
		for range 10 {
			sent = append(sent, inBackground(func() error { return sendTo(t.Context(), p, "orders", "x") }))
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errOther)
		defer cancel()
		start := time.Now()
		err := p.Close(ctx)
		want(t, "Close took", time.Since(start), time.Second)
		wantErr(t, "Close", err, context.DeadlineExceeded)
		wantErr(t, "Close", err, errOther)
		if e, ok := err.(*nsqx.CloseError); !ok || e.Unconfirmed != 10 {
			t.Errorf("Close returned %v", err)
		}
		synctest.Wait()
		var errs []error
		for _, result := range sent {
			select {
			case err := <-result:
				errs = append(errs, err)
			default:
				t.Error("a publish still waits")
			}
		}
		wantUnanswered(t, errs)
		want(t, "counted", p.Stats().Unconfirmed+p.Stats().NotSent, 10)
	})
	bubble(t, "no nsqd", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		s.Refuse(true)
		p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithPublishTimeout(time.Hour))
		waiting := inBackground(func() error { return sendTo(t.Context(), p, "orders", "x") })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantErr(t, "Close", p.Close(ctx), context.DeadlineExceeded)
		wantKind(t, <-waiting, nsqx.ErrNotSent)
	})
}

// TestCloseBesideUserCode: middleware and hooks that do not return hold Close up for a second at most, and so a hook may close.
func TestCloseBesideUserCode(t *testing.T) {
	bubble(t, "middleware hangs", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		hang := make(chan struct{})
		defer close(hang)
		p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithSendMiddleware(func(handler.Send) handler.Send {
			return func(context.Context, *handler.Outgoing) error { <-hang; return nil }
		}))
		inBackground(func() error { return sendTo(t.Context(), p, "orders", "x") })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		wantErr(t, "Close", p.Close(ctx), context.DeadlineExceeded)
		want(t, "took", time.Since(start), 2*time.Second)
	})
	bubble(t, "a hook closes", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		made := make(chan *nsqx.Publisher, 1)
		closed := make(chan error, 1)
		p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithHooks(nsqx.ConnectFunc(func(nsqx.ConnEvent) {
			closed <- (<-made).Close(context.Background())
		})))
		made <- p
		wantErr(t, "Close", <-closed, nil)
		wantErr(t, "health", p.Healthy(), nsqx.ErrNotRunning)
	})
}

// TestHealthOfAPublisher follows its connections.
func TestHealthOfAPublisher(t *testing.T) {
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

func TestProducerOptionFaults(t *testing.T) {
	ok := nsqx.WithNSQD(nsqd1)
	nowhere := conn.Config{DialContext: refuses}
	shared, err := nsqx.NewPublisher(ok, nsqx.WithConn(nowhere), nsqx.WithLogger(discard))
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close(t.Context())
	pub := nsqx.WithPublisher(shared)
	for name, tt := range map[string]struct {
		opts []nsqx.ProducerOption
		want []string // each fault, in order: the option, a space, what its text has
	}{
		"none":               {[]nsqx.ProducerOption{ok, nil, nsqx.WithConn(nowhere)}, nil},
		"no address":         {nil, []string{"WithNSQD or WithLookupd or WithDiscoverer is needed"}},
		"faulty address":     {[]nsqx.ProducerOption{nsqx.WithNSQD("nsqd")}, []string{"WithNSQD want host:port"}},
		"faulty lookupd":     {[]nsqx.ProducerOption{nsqx.WithLookupd("ftp://a")}, []string{"WithLookupd has a faulty address"}},
		"timeout":            {[]nsqx.ProducerOption{ok, nsqx.WithPublishTimeout(-1)}, []string{"WithPublishTimeout is -1ns, want 0s to 1h0m0s"}},
		"timeout high":       {[]nsqx.ProducerOption{ok, nsqx.WithPublishTimeout(time.Hour + 1)}, []string{"WithPublishTimeout is 1h0m0.000000001s, want"}},
		"timeout twice":      {[]nsqx.ProducerOption{ok, nsqx.WithPublishTimeout(0), nsqx.WithPublishTimeout(0)}, []string{"WithPublishTimeout is given twice"}},
		"at least twice":     {[]nsqx.ProducerOption{ok, nsqx.WithAtLeastOnce(), nsqx.WithAtLeastOnce()}, []string{"WithAtLeastOnce is given twice"}},
		"envelope twice":     {[]nsqx.ProducerOption{ok, nsqx.WithEnvelope(), nsqx.WithEnvelope()}, []string{"WithEnvelope is given twice"}},
		"address twice":      {[]nsqx.ProducerOption{ok, ok}, []string{"WithNSQD is given twice"}},
		"nil publisher":      {[]nsqx.ProducerOption{ok, nsqx.WithPublisher(nil)}, []string{"WithPublisher got nil"}},
		"publisher twice":    {[]nsqx.ProducerOption{pub, pub}, []string{"WithPublisher is given twice"}},
		"publisher and more": {[]nsqx.ProducerOption{pub, nsqx.WithPublishTimeout(0), ok}, []string{"WithNSQD goes with NewPublisher", "WithPublishTimeout goes with NewPublisher"}},
		"publisher's own":    {[]nsqx.ProducerOption{pub, nsqx.WithSendMiddleware(), nsqx.WithEnvelope()}, nil},
		"bundle":             {[]nsqx.ProducerOption{nsqx.WithProducerOptions(ok, nil, nsqx.WithPublishTimeout(-1)), nsqx.WithOptions()}, []string{"WithPublishTimeout is -1ns"}},
		"all of them":        {[]nsqx.ProducerOption{nsqx.WithPublishTimeout(-1), nsqx.WithConn(conn.Config{MaxBodySize: -1})}, []string{"WithPublishTimeout is -1ns", "conn.Config.MaxBodySize is -1", "WithNSQD or"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := nsqx.NewProducer("orders", codec.String(), append(tt.opts, nil)...)
			if err == nil {
				defer p.Close(t.Context())
			}
			got := faults(err)
			if len(got) != len(tt.want) {
				t.Fatalf("faults are %v, want %q", got, tt.want)
			}
			for i, want := range tt.want {
				option, text, _ := strings.Cut(want, " ")
				if s := got[i].Error(); !strings.HasPrefix(s, "nsqx: "+option+" ") || !strings.Contains(s, text) {
					t.Errorf("fault is %q, want %q", s, want)
				}
			}
			if slices.Contains([]string{"publisher and more", "publisher's own", "publisher twice"}, name) {
				_, err := nsqx.NewPublisher(tt.opts...)
				if !strings.Contains(fmt.Sprint(err), "WithPublisher is for NewProducer") {
					t.Errorf("NewPublisher returned %v", err)
				}
			}
		})
	}
	_, err = nsqx.NewProducer[string]("or/ders", nil, ok)
	want(t, "faults of the arguments", len(faults(err)), 2)
	faulty := codec.Func[string](nil, func([]byte) (string, error) { return "", nil })
	_, err = nsqx.NewProducer("orders", faulty, ok)
	if _, ok := errors.AsType[*codec.Error](err); !ok {
		t.Errorf("error is %v, want a *codec.Error", err)
	}
}
