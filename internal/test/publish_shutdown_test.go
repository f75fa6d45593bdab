package test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
)

// TestCloseWaitsForAsync: what was accepted before Close is published, also if nothing of it has begun yet, and whoever closes.
func TestPublisherShutdownWaitsForAsync(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, p *nsqx.Producer[string], pub *nsqx.Publisher) error{
		"producer closed":  func(ctx context.Context, p *nsqx.Producer[string], _ *nsqx.Publisher) error { return p.Shutdown(ctx) },
		"producer flushed": func(ctx context.Context, p *nsqx.Producer[string], _ *nsqx.Publisher) error { return p.Flush(ctx) },
		"publisher closed": func(ctx context.Context, _ *nsqx.Producer[string], pub *nsqx.Publisher) error {
			return pub.Shutdown(ctx)
		},
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
func TestProducerShutdownClosesPublisher(t *testing.T) {
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
		err := p.Shutdown(ctx)
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

// TestCloseWhileDiscovering: Close may come while an answer is dealt with.
func TestPublisherShutdownWhileDiscovering(t *testing.T) {
	for range 200 {
		answer := make(chan struct{})
		source := nsqx.DiscovererFunc(func(ctx context.Context, _ string) ([]string, error) {
			<-answer
			return []string{"127.0.0.1:1"}, nil
		})
		p, err := nsqx.NewPublisher(nsqx.WithDiscoverer(source), nsqx.WithLogger(discard))
		if err != nil {
			t.Fatal(err)
		}
		var both sync.WaitGroup
		both.Go(func() { close(answer) })
		both.Go(func() { wantErr(t, "Close", p.Shutdown(t.Context()), nil) })
		both.Wait()
	}
}

// TestCloseInOrder: what is under way is confirmed, what comes later is not sent, and connections end with a half-close.
func TestPublisherShutdown(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		before := bubbleGoroutines()
		servers := nsqxtest.NewServers(t, 2)
		onPublish(always(nsqxtest.Proceed().After(time.Second)), servers...)
		p := newPublisher(t, servers)
		var results []<-chan error
		for range 10 {
			results = append(results, inBackground(func() error { return sendTo(t.Context(), p, "orders", "x") }))
		}
		closed := inBackground(func() error { return p.Shutdown(t.Context()) })
		wantKind(t, sendTo(t.Context(), p, "orders", "late"), nsqx.ErrNotSent)
		again := inBackground(func() error { return p.Shutdown(t.Context()) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		wantErr(t, "a second Close whose ctx ends", p.Shutdown(ctx), context.DeadlineExceeded)
		for _, result := range results {
			wantKind(t, <-result, nil)
		}
		wantErr(t, "Close", <-closed, nil)
		wantErr(t, "the second Close", <-again, nil)
		wantErr(t, "a third Close", p.Shutdown(t.Context()), nil)
		wantErr(t, "health", p.Healthy(), nsqx.ErrNotRunning)
		wantErr(t, "flush", p.Flush(t.Context()), nil)
		for _, s := range servers {
			want(t, "connections", len(s.Conns()), 0)
			s.Close()
		}
		synctest.Wait()
		if n := bubbleGoroutines(); n > before {
			t.Errorf("%d goroutines are left", n-before)
		}
	})
}

// TestCloseWhileSendsWaitS13: each publish that is under way when ctx ends gets exactly one result.
func TestPublisherShutdownWhileSendsWaitS13(t *testing.T) {
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
		err := p.Shutdown(ctx)
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
		wantErr(t, "Close", p.Shutdown(ctx), context.DeadlineExceeded)
		wantKind(t, <-waiting, nsqx.ErrNotSent)
	})
}

// TestCloseBesideUserCode: middleware and hooks that do not return hold Close up for a second at most, and so a hook may close.
func TestPublisherShutdownAndUserCode(t *testing.T) {
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
		wantErr(t, "Close", p.Shutdown(ctx), context.DeadlineExceeded)
		want(t, "took", time.Since(start), 2*time.Second)
	})
	bubble(t, "a hook closes", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		made := make(chan *nsqx.Publisher, 1)
		closed := make(chan error, 1)
		p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithHooks(observe.Hooks{OnConnect: func(observe.ConnEvent) {
			closed <- (<-made).Shutdown(context.Background())
		}}))
		made <- p
		wantErr(t, "Close", <-closed, nil)
		wantErr(t, "health", p.Healthy(), nsqx.ErrNotRunning)
	})
}
