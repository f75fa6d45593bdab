package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/discover"
	"github.com/nsqx/nsqx/observe"
)

// TestEncode: a codec that fails, panics, or does not append leaves dst as it was.
func TestEncode(t *testing.T) {
	for name, tt := range map[string]struct {
		encode func(dst []byte) ([]byte, error)
		want   string // behind dst
		err    error  // nil: see panics
		panics bool
	}{
		"appends":         {func(dst []byte) ([]byte, error) { return append(dst, "new"...), nil }, "new", nil, false},
		"appends nothing": {func(dst []byte) ([]byte, error) { return dst, nil }, "", nil, false},
		"appends much":    {func(dst []byte) ([]byte, error) { return append(dst, strings.Repeat("x", 9999)...), nil }, strings.Repeat("x", 9999), nil, false},
		"copies":          {func(dst []byte) ([]byte, error) { return append(bytes.Clone(dst), "new"...), nil }, "new", nil, false},
		"fails":           {func(dst []byte) ([]byte, error) { return append(dst, "new"...), errCause }, "", errCause, false},
		"panics":          {func(dst []byte) ([]byte, error) { panic(errPanic) }, "", errPanic, true},
		"returns nil":     {func([]byte) ([]byte, error) { return nil, nil }, "", errNotAppended, false},
		"returns less":    {func(dst []byte) ([]byte, error) { return dst[:len(dst)-1], nil }, "", errNotAppended, false},
		"returns another": {func([]byte) ([]byte, error) { return []byte("another, and a longer one"), nil }, "", errNotAppended, false},
		"returns as much": {func([]byte) ([]byte, error) { return []byte("123"), nil }, "", errNotAppended, false},
		"loses the start": {func(dst []byte) ([]byte, error) { return append(dst[1:], "longer"...), nil }, "", errNotAppended, false},
		"drops the start": {func(dst []byte) ([]byte, error) { return append([]byte(nil), "longer"...), nil }, "", errNotAppended, false},
	} {
		for _, spare := range []int{0, 100} {
			t.Run(fmt.Sprint(name, ", spare ", spare), func(t *testing.T) {
				dst := append(make([]byte, 0, 3+spare), "dst"...)
				got, err := Encode(dst, tt.encode)
				check.WantErr(t, "error", err, tt.err)
				_, panicked := errors.AsType[*handler.PanicError](err)
				check.Want(t, "panicked", panicked, tt.panics)
				check.Want(t, "result", string(got), "dst"+tt.want)
			})
		}
	}
	got, err := Encode(nil, func([]byte) ([]byte, error) { return []byte("fresh"), nil })
	check.WantErr(t, "error without a dst", err, nil)
	check.Want(t, "result without a dst", string(got), "fresh")
	got, err = Encode(make([]byte, 0, 10), func([]byte) ([]byte, error) { return nil, nil })
	check.WantErr(t, "error of nothing", err, nil)
	check.Want(t, "length of nothing", len(got), 0)
}

// settings are those of a publisher of some nsqds.
func (n *nsqds) settings(addrs ...string) Settings {
	return Settings{
		NSQDs: addrs, Conn: n.config(), Logger: discard,
		Discover: discover.Config{Interval: time.Minute, Max: 10},
	}
}

// observer is a Telemetry that records what it is asked for.
type observer struct {
	observe.NoTelemetry
	info      check.Synced[observe.ProducerInfo]
	calls     check.Synced[string]
	observing bool
}

func (o *observer) Producer(info observe.ProducerInfo) handler.SendMiddleware {
	o.info.Add(info)
	return tracing(&o.calls, "telemetry")
}

func (o *observer) ObservePublisher(func() observe.PublisherStats) func() {
	o.observing = true
	return func() { o.observing = false }
}

// tracing returns middleware that adds its name to calls, before and after.
func tracing(calls *check.Synced[string], name string) handler.SendMiddleware {
	return func(next handler.Send) handler.Send {
		return func(ctx context.Context, out *handler.Outgoing) error {
			calls.Add(name)
			defer calls.Add("/" + name)
			return next(ctx, out)
		}
	}
}

// TestChain: the order of the steps, and what telemetry is told.
func TestChain(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		n, o := newNSQDs(t), &observer{}
		cfg := n.settings(addrA)
		cfg.Telemetry, cfg.Conn.ClientID = o, "me"
		cfg.Middleware = []handler.SendMiddleware{tracing(&o.calls, "first"), nil, tracing(&o.calls, "second")}
		p := Start(cfg)
		check.Want(t, "observed", o.observing, true)
		send := p.Chain("orders", []handler.SendMiddleware{tracing(&o.calls, "more")}, false)
		synctest.Wait()
		check.WantErr(t, "publish", p.Through(t.Context(), send, message("x")), nil)
		n.wantPublished(addrA + ": x")
		check.Want(t, "steps", strings.Join(o.calls.All(), " "), "telemetry first second more /more /second /first /telemetry")
		check.Want(t, "infos", o.info.Len(), 1)
		check.Want(t, "info", o.info.All()[0], observe.ProducerInfo{Topic: "orders", ClientID: "me"})
		check.WantErr(t, "Close", p.Close(t.Context()), nil)
		check.Want(t, "observed", o.observing, false)
	})
}

// TestChainEnvelope: of the publisher, of the producer, or of the publish itself.
func TestChainEnvelope(t *testing.T) {
	for _, tt := range []struct{ publisher, producer, publish, want bool }{
		{false, false, false, false}, {true, false, false, true}, {false, true, false, true}, {false, false, true, true},
	} {
		check.Bubble(t, fmt.Sprint(tt), func(t *testing.T) {
			n := newNSQDs(t)
			cfg := n.settings(addrA)
			cfg.Envelope = tt.publisher
			p := Start(cfg)
			defer p.Close(context.Background())
			synctest.Wait()
			out := message("x")
			out.Envelope = tt.publish
			got := false
			watch := func(next handler.Send) handler.Send {
				return func(_ context.Context, out *handler.Outgoing) error { got = out.Envelope; return nil }
			}
			check.WantErr(t, "publish", p.Chain("orders", []handler.SendMiddleware{watch}, tt.producer)(t.Context(), out), nil)
			check.Want(t, "envelope", got, tt.want)
		})
	}
}

// TestChainPanics: middleware that panics leaves the publish unconfirmed.
func TestChainPanics(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		p := Start(newNSQDs(t).settings(addrA))
		defer p.Close(context.Background())
		synctest.Wait()
		panics := func(handler.Send) handler.Send {
			return func(context.Context, *handler.Outgoing) error { panic(errPanic) }
		}
		err := p.Through(t.Context(), p.Chain("orders", []handler.SendMiddleware{panics}, false), message("x"))
		e := wantKind(t, err, conn.ErrUnconfirmed)
		check.Want(t, "topic", e.Topic, "orders")
		check.WantErr(t, "cause", err, errPanic)
		check.WantErr(t, "Flush", p.Work.Flush(t.Context()), nil)
	})
}

// TestPublisherCloses: what Close waits for, and what it returns.
func TestPublisherCloses(t *testing.T) {
	for name, tt := range map[string]struct {
		answer  string
		timeout time.Duration
		took    time.Duration
		lost    int
	}{
		"all is confirmed": {"", time.Minute, 0, 0},
		"one is not":       {"hang", 3 * time.Second, 3 * time.Second, 1},
		"no time":          {"hang", 0, 0, 1},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			n := newNSQDs(t)
			n.answer[addrA] = tt.answer
			p := Start(n.settings(addrA))
			synctest.Wait()
			failed := make(chan error, 1)
			go func() { failed <- p.Through(context.Background(), p.Chain("orders", nil, false), message("x")) }()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), tt.timeout)
			defer cancel()
			start := time.Now()
			err := p.Close(ctx)
			check.Want(t, "time", time.Since(start), tt.took)
			if tt.lost == 0 {
				check.WantErr(t, "Close", err, nil)
				check.WantErr(t, "publish", <-failed, nil)
			} else {
				e, ok := errors.AsType[*observe.CloseError](err)
				if !ok || e.Unconfirmed != tt.lost || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Close returned %v", err)
				}
				wantKind(t, <-failed, conn.ErrUnconfirmed)
			}
			check.Want(t, "second Close", p.Close(t.Context()), err)
			err = p.Through(t.Context(), p.Chain("orders", nil, false), message("x"))
			wantKind(t, err, conn.ErrNotSent)
			check.WantErr(t, "publish after Close", err, ErrClosed)
		})
	}
}

// TestSecondCloseWaits for the first, until its ctx ends.
func TestSecondCloseWaits(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		p := Start(newNSQDs(t).settings(addrA))
		synctest.Wait()
		epoch, _ := p.Work.Begin()
		first := make(chan error)
		go func() { first <- p.Close(context.Background()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		check.WantErr(t, "second", p.Close(ctx), context.DeadlineExceeded)
		p.Work.End(epoch)
		check.WantErr(t, "first", <-first, nil)
		check.WantErr(t, "third", p.Close(t.Context()), nil)
		for range 100 {
			check.WantErr(t, "one whose ctx has ended", p.Close(ctx), nil)
		}
	})
}

// TestClosesTogether: whoever closes has the result of the first.
func TestClosesTogether(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		n := newNSQDs(t)
		n.answer[addrA] = "hang"
		p := Start(n.settings(addrA))
		synctest.Wait()
		var others sync.WaitGroup
		others.Go(func() {
			wantKind(t, p.Through(context.Background(), p.Chain("orders", nil, false), message("x")), conn.ErrUnconfirmed)
		})
		synctest.Wait()
		first := make(chan error, 1)
		others.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			first <- p.Close(ctx)
		})
		synctest.Wait()
		results := make(chan error, 20)
		for range cap(results) {
			others.Go(func() { results <- p.Close(context.Background()) })
		}
		err := <-first
		if e, ok := errors.AsType[*observe.CloseError](err); !ok || e.Unconfirmed != 1 {
			t.Errorf("Close returned %v", err)
		}
		for range cap(results) {
			check.Want(t, "result of another", <-results, err)
		}
		others.Wait()
	})
}

// slowSource is a discover.Source that ignores ctx.
type slowSource time.Duration

func (s slowSource) Discover(context.Context, string) ([]string, error) {
	time.Sleep(time.Duration(s))
	return nil, nil
}

// TestPublisherStats: the router's, and what the publisher adds.
func TestPublisherStats(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		cfg := newNSQDs(t).settings(addrA)
		cfg.Discover.Sources = []discover.Source{slowSource(0)}
		block := make(chan struct{})
		cfg.Hooks = []observe.Hooks{{OnConnect: func(observe.ConnEvent) { <-block }}}
		p := Start(cfg)
		synctest.Wait()
		for range 1000 {
			p.events.Conn(0, addrA, nil, 0)
		}
		check.WantErr(t, "publish", p.Through(t.Context(), p.Chain("orders", nil, false), message("x")), nil)
		p.Router.rejected.Add(2)
		p.Router.notSent.Add(3)
		p.Router.unconfirmed.Add(4)
		p.Router.skipped.Add(5)
		s := p.Stats()
		for f, v := range reflect.ValueOf(s).Fields() {
			if f.Name != "InFlight" {
				check.Want(t, f.Name+" is zero", v.IsZero(), false)
			}
		}
		check.Want(t, "source", s.Lookups[0].Name, "publish.slowSource")
		check.Want(t, "confirmed", s.Confirmed, 1)
		close(block)
		check.WantErr(t, "Close", p.Close(t.Context()), nil)
	})
}
