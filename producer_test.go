package nsqx_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

var errEncode = errors.New("cannot be encoded")

// picky encodes all but "bad", and panics at "worse".
var picky = codec.Func(func(dst []byte, v string) ([]byte, error) {
	switch v {
	case "bad":
		return dst, errEncode
	case "worse":
		panic(errEncode)
	case "forgets":
		return nil, nil
	}
	return append(dst, v...), nil
}, func(b []byte) (string, error) { return string(b), nil })

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
		wantErr(t, "Close", p.Close(t.Context()), nil)
		wantErr(t, "Close again", p.Close(t.Context()), nil)
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

// TestUnencodable: nothing is sent, of several together none, and a panic is an error.
func TestUnencodable(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p, err := nsqx.NewProducer("orders", picky, s.Option(), nsqx.WithLogger(discard))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(t.Context())
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

// TestPublishAll is split at nsqd's limit, and says how many are confirmed when a later command fails.
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
			onPublish(inTurn(tt.actions...), s)
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

// TestPublishAllRefusesBeforeItSends: a body that is too large for nsqd keeps all from being sent.
func TestPublishAllRefusesBeforeItSends(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := newProducer(t, s.Option(), nsqx.WithConn(conn.Config{MaxMessageSize: 100, MaxBodySize: 60}), nsqx.WithLogger(discard))
		values := append(numbered(50), strings.Repeat("x", 101))
		n, err := p.PublishAll(t.Context(), values)
		wantKind(t, err, nsqx.ErrRejected)
		want(t, "n", n, 0)
		want(t, "commands", commands(s), 0)
		values[50] = strings.Repeat("x", 100) // a command of its own, since no MPUB takes it
		n, err = p.PublishAll(t.Context(), values)
		wantKind(t, err, nil)
		want(t, "n", n, 51)
		want(t, "published", published(s, "orders"), strings.Join(values, " "))
	})
}

// TestPublishAsync: done is called once for each, with what Publish would have returned.
func TestPublishAsync(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		onPublish(always(nsqxtest.Proceed().After(time.Second)), s)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard))
		const n = 100
		var calls [n]atomic.Int32
		for i, body := range numbered(n) {
			wantKind(t, p.PublishAsync(t.Context(), body, func(err error) {
				calls[i].Add(1)
				wantKind(t, err, nil)
			}), nil)
		}
		wantKind(t, p.PublishAsync(t.Context(), strings.Repeat("x", 2<<20), func(err error) { wantKind(t, err, nsqx.ErrRejected) }), nil)
		wantKind(t, p.PublishAsync(t.Context(), "no done", nil), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		wantErr(t, "Flush", p.Flush(ctx), context.DeadlineExceeded)
		wantErr(t, "Flush", p.Flush(t.Context()), nil)
		for i := range calls {
			want(t, fmt.Sprint("calls of done ", i), calls[i].Load(), 1)
		}
		got := strings.Fields(published(s, "orders"))
		slices.Sort(got)
		all := append(numbered(n), "no", "done")
		slices.Sort(all)
		want(t, "published", strings.Join(got, " "), strings.Join(all, " "))
	})
}

// TestAsyncBound: while 1024 are under way the next waits, by its ctx.
func TestAsyncBound(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		onPublish(always(nsqxtest.Proceed().After(time.Minute)), s)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithConn(conn.Config{PublishTimeout: time.Hour}))
		var finished atomic.Int32
		for range 1024 {
			wantKind(t, p.PublishAsync(t.Context(), "x", func(error) { finished.Add(1) }), nil)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := p.PublishAsync(ctx, "x", func(error) { t.Error("done was called") })
		wantKind(t, err, nsqx.ErrNotSent)
		wantErr(t, "why", err, context.DeadlineExceeded)
		wantKind(t, p.PublishAsync(t.Context(), "x", func(error) { finished.Add(1) }), nil)
		if time.Since(s.Commands("IDENTIFY")[0].Time) < time.Minute {
			t.Error("it has not waited")
		}
		wantErr(t, "Flush", p.Flush(t.Context()), nil)
		want(t, "finished", finished.Load(), 1025)
	})
}

// TestAsyncUserPanics: neither done nor a middleware takes the process down.
func TestAsyncUserPanics(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		log := &logbook{}
		mw := func(next handler.Send) handler.Send {
			return func(ctx context.Context, out *handler.Outgoing) error {
				if string(out.Messages[0].Body) == "panic" {
					panic(errOther)
				}
				return next(ctx, out)
			}
		}
		p := newProducer(t, s.Option(), nsqx.WithLogger(slog.New(log)), nsqx.WithSendMiddleware(mw))
		result := make(chan error, 1)
		wantKind(t, p.PublishAsync(t.Context(), "x", func(error) { panic("of done") }), nil)
		wantKind(t, p.PublishAsync(t.Context(), "panic", func(err error) { result <- err }), nil)
		for _, err := range []error{<-result, p.Publish(t.Context(), "panic")} {
			wantKind(t, err, nsqx.ErrUnconfirmed)
			wantErr(t, "why", err, errOther)
		}
		wantErr(t, "Flush", p.Flush(t.Context()), nil)
		want(t, "logged", log.count(slog.LevelError, "panicked"), 1)
		want(t, "published", published(s, "orders"), "x")
		wantErr(t, "Close", p.Close(t.Context()), nil)
	})
}

// TestCloseWaitsForAsync: what was accepted before Close is published, also if nothing of it has begun yet, and whoever closes.
func TestCloseWaitsForAsync(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, p *nsqx.Producer[string], pub *nsqx.Publisher) error{
		"producer closed":   func(ctx context.Context, p *nsqx.Producer[string], _ *nsqx.Publisher) error { return p.Close(ctx) },
		"producer flushed":  func(ctx context.Context, p *nsqx.Producer[string], _ *nsqx.Publisher) error { return p.Flush(ctx) },
		"publisher closed":  func(ctx context.Context, _ *nsqx.Producer[string], pub *nsqx.Publisher) error { return pub.Close(ctx) },
		"publisher flushed": func(ctx context.Context, _ *nsqx.Producer[string], pub *nsqx.Publisher) error { return pub.Flush(ctx) },
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			pub := newPublisher(t, []*nsqxtest.Server{s})
			p := newProducer(t, nsqx.WithPublisher(pub))
			for range 500 {
				wantKind(t, p.PublishAsync(t.Context(), "x", func(err error) { wantKind(t, err, nil) }), nil)
			}
			wantErr(t, "end", end(t.Context(), p, pub), nil)
			want(t, "published", len(s.Published("orders")), 500)
			synctest.Wait()
		})
	}
}

// TestCloseOfAnOwnPublisher: it is closed with its producer.
func TestCloseOfAnOwnPublisher(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		onPublish(always(nsqxtest.Drop()), s)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard))
		results := make(chan error, 3)
		for range 2 {
			wantKind(t, p.PublishAsync(t.Context(), "x", func(err error) { results <- err }), nil)
		}
		var other sync.WaitGroup
		other.Go(func() { results <- p.Publish(t.Context(), "y") })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := p.Close(ctx)
		wantErr(t, "Close", err, context.DeadlineExceeded)
		if e, ok := errors.AsType[*nsqx.CloseError](err); !ok || e.Unconfirmed != 3 || !strings.Contains(e.Error(), "3 messages unconfirmed") {
			t.Errorf("Close returned %v", err)
		}
		wantUnanswered(t, []error{<-results, <-results, <-results})
		other.Wait()
		synctest.Wait() // the server has to notice
		want(t, "connections", len(s.Conns()), 0)
	})
}

// TestDoneThatHangs does not keep Close beyond its ctx, nor does one that closes.
func TestDoneThatHangs(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard))
		hang := make(chan struct{})
		defer close(hang)
		wantKind(t, p.PublishAsync(t.Context(), "x", func(error) { <-hang }), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		wantErr(t, "Close", p.Close(ctx), context.DeadlineExceeded)
		want(t, "took", time.Since(start), 2*time.Second)
	})
}
