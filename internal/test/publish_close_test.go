package test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// closer is what a Publisher and a Producer have in common.
type closer interface {
	io.Closer
	Shutdown(ctx context.Context) error
}

// closers calls f for a publisher and for producers, each with a function that publishes in the
// background.
func closers(t *testing.T, f func(t *testing.T, s *nsqxtest.Server, c closer, publish func() <-chan error), opts ...nsqx.ProducerOption) {
	t.Helper()
	async := func(p *nsqx.Producer[string]) func() <-chan error {
		return func() <-chan error {
			result := make(chan error, 1)
			wantKind(t, p.PublishAsync(context.Background(), "x", func(err error) { result <- err }), nil)
			synctest.Wait()
			return result
		}
	}
	for name, start := range map[string]func(t *testing.T, s *nsqxtest.Server) (closer, func() <-chan error){
		"Publisher": func(t *testing.T, s *nsqxtest.Server) (closer, func() <-chan error) {
			p := newPublisherOf(t, append(opts, s.Option())...)
			return p, func() <-chan error {
				return inBackground(func() error { return sendTo(context.Background(), p, "orders", "x") })
			}
		},
		"Producer": func(t *testing.T, s *nsqxtest.Server) (closer, func() <-chan error) {
			p := newProducer(t, append(opts, s.Option(), nsqx.WithLogger(discard))...)
			return p, func() <-chan error {
				return inBackground(func() error { return p.Publish(context.Background(), "x") })
			}
		},
		"Producer, async": func(t *testing.T, s *nsqxtest.Server) (closer, func() <-chan error) {
			p := newProducer(t, append(opts, s.Option(), nsqx.WithLogger(discard))...)
			return p, async(p)
		},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			c, publish := start(t, s)
			f(t, s, c, publish)
		})
	}
}

// TestCloseWaits: Close waits for what is under way, also if the ctx of the service has ended, for
// 10 s by default.
func TestCloseWaits(t *testing.T) {
	closers(t, func(t *testing.T, s *nsqxtest.Server, c closer, publish func() <-chan error) {
		onPublish(always(nsqxtest.Proceed().After(9*time.Second)), s)
		result, start := publish(), time.Now()
		wantErr(t, "Close", c.Close(), nil)
		want(t, "took", time.Since(start), 9*time.Second)
		wantKind(t, <-result, nil)
	})
	for _, tt := range []struct {
		opts []nsqx.ProducerOption
		took time.Duration
	}{
		{nil, 10 * time.Second},
		{[]nsqx.ProducerOption{nsqx.WithCloseTimeout(3 * time.Second)}, 3 * time.Second},
		{[]nsqx.ProducerOption{nsqx.WithCloseTimeout(0)}, 0},
	} {
		closers(t, func(t *testing.T, s *nsqxtest.Server, c closer, publish func() <-chan error) {
			onPublish(always(nsqxtest.Drop()), s)
			result, start := publish(), time.Now()
			err := c.Close()
			want(t, "took", time.Since(start), tt.took)
			if e, ok := errors.AsType[*nsqx.CloseError](err); !ok || e.Unconfirmed != 1 {
				t.Errorf("Close returned %v", err)
			}
			wantErr(t, "why", err, context.DeadlineExceeded)
			wantKind(t, <-result, nsqx.ErrUnconfirmed)
		}, tt.opts...)
	}
	closers(t, func(t *testing.T, s *nsqxtest.Server, c closer, publish func() <-chan error) {
		onPublish(always(nsqxtest.Proceed().After(20*time.Second)), s)
		result, start := publish(), time.Now()
		wantErr(t, "Shutdown as long as its ctx allows", c.Shutdown(context.Background()), nil)
		want(t, "took", time.Since(start), 20*time.Second)
		wantKind(t, <-result, nil)
	})
}

// TestCloseTwice: Close and Shutdown, again or at the same time, have the result of the first. One
// whose ctx ends before the first is done has the error of its ctx.
func TestCloseTwice(t *testing.T) {
	closers(t, func(t *testing.T, s *nsqxtest.Server, c closer, publish func() <-chan error) {
		onPublish(always(nsqxtest.Drop()), s)
		result := publish()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		first := inBackground(func() error { return c.Shutdown(ctx) })
		var others []<-chan error
		for range 20 {
			others = append(others, inBackground(c.Close), inBackground(func() error { return c.Shutdown(context.Background()) }))
		}
		early, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		want(t, "one whose ctx ends", c.Shutdown(early), context.DeadlineExceeded)
		want(t, "took", time.Since(start), time.Second)
		err := <-first
		if e, ok := errors.AsType[*nsqx.CloseError](err); !ok || e.Unconfirmed != 1 {
			t.Errorf("the first returned %v", err)
		}
		for _, other := range others {
			want(t, "another", <-other, err)
		}
		for range 20 {
			want(t, "later", c.Close(), err)
			want(t, "later, with a ctx that has ended", c.Shutdown(early), err)
		}
		wantKind(t, <-result, nsqx.ErrUnconfirmed)
	})
}

// TestCloseOfSharedProducers: each has its own end, and the publisher its own.
func TestCloseOfSharedProducers(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		pub := newPublisher(t, []*nsqxtest.Server{s})
		a, b := newProducer(t, nsqx.WithPublisher(pub)), newProducer(t, nsqx.WithPublisher(pub), nsqx.WithCloseTimeout(time.Second))
		wantErr(t, "Close", a.Close(), nil)
		wantErr(t, "second Close", a.Close(), nil)
		wantKind(t, a.Publish(t.Context(), "x"), nsqx.ErrNotSent)
		wantKind(t, b.Publish(t.Context(), "x"), nil)
		hang := make(chan struct{})
		wantKind(t, b.PublishAsync(t.Context(), "x", func(error) { <-hang }), nil)
		err := b.Close()
		wantErr(t, "Close while done hangs", err, context.DeadlineExceeded)
		close(hang)
		want(t, "second Close", b.Close(), err)
		wantErr(t, "Close of the publisher", pub.Close(), nil)
	})
}

// TestNilContext: a nil ctx is context.Background, for all that takes one.
func TestNilContext(t *testing.T) {
	bubble(t, "publish", func(t *testing.T) {
		var none context.Context
		s := nsqxtest.NewServer(t)
		pub := newPublisher(t, []*nsqxtest.Server{s})
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithEnvelope())
		wantKind(t, pub.Ping(none), nil)
		wantKind(t, pub.Send(none, message("orders", "a")), nil)
		wantKind(t, pub.Flush(none), nil)
		wantKind(t, p.Ping(none), nil)
		wantKind(t, p.Publish(none, "b"), nil)
		wantKind(t, p.Publish(none, "b", nsqx.Header("k", "v")), nil)
		wantKind(t, p.PublishAfter(none, time.Second, "c"), nil)
		n, err := p.PublishAll(none, []string{"d", "e"})
		wantKind(t, err, nil)
		want(t, "n", n, 2)
		wantKind(t, p.PublishAsync(none, "f", nil), nil)
		wantKind(t, pub.Publish(none, "others", []byte("g")), nil)
		wantKind(t, pub.PublishAsync(none, "others", []byte("g"), nil), nil)
		wantKind(t, p.Flush(none), nil)
		wantErr(t, "Shutdown", p.Shutdown(none), nil)
		wantErr(t, "Shutdown", pub.Shutdown(none), nil)
		want(t, "published", len(s.Published("orders")), 7)
	})
	bubble(t, "consume", func(t *testing.T) {
		var none context.Context
		s := nsqxtest.NewServer(t)
		stop := make(chan struct{})
		c := newConsumer(t, func(ctx context.Context, _ string) error { close(stop); return ctx.Err() }, s.Option())
		ended := inBackground(func() error { return nsqx.Run(none, c, endsWhen(stop)) })
		s.Publish("orders", []byte("x"))
		wantErr(t, "Run", <-ended, nsqx.ErrEnded)
		s.Await("orders", "billing", finished(1))
		started := newConsumer(t, done, s.Option())
		wantErr(t, "Start", started.Start(none), nil)
		wantErr(t, "Stop", started.Stop(none), nil)

		seen := ""
		again := newConsumer(t, func(ctx context.Context, v string) error {
			seen = v + " of " + handler.FromContext(ctx).Topic()
			return ctx.Err()
		}, s.Option())
		m := nsqxtest.Message([]byte("x"), nsqxtest.WithTopic("orders", "billing"))
		want(t, "outcome", again.Process(none, m).Disposition, handler.Finish)
		want(t, "seen", seen, "x of orders")
		report, err := nsqx.Redrive(none, "dead", "", s.Option(), nsqx.WithLogger(discard), nsqx.WithRedriveIdle(time.Second))
		wantErr(t, "Redrive", err, nil)
		want(t, "redriven", report.Redriven, 0)
	})
}

// endsWhen is a service that ends when stop is closed.
type endsWhen chan struct{}

func (e endsWhen) Run(context.Context) error { <-e; return nil }
