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

// TestPublisherShutdownWaitsForAsync: everything accepted before Shutdown or Flush is published,
// even if it has not started yet.
func TestPublisherShutdownWaitsForAsync(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, p *nsqx.Producer[string], pub *nsqx.Publisher) error{
		"producer shut down": func(ctx context.Context, p *nsqx.Producer[string], _ *nsqx.Publisher) error { return p.Shutdown(ctx) },
		"producer flushed":   func(ctx context.Context, p *nsqx.Producer[string], _ *nsqx.Publisher) error { return p.Flush(ctx) },
		"publisher shut down": func(ctx context.Context, _ *nsqx.Producer[string], pub *nsqx.Publisher) error {
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

// TestProducerShutdownClosesPublisher: Shutdown of a producer shuts down the publisher that the
// producer made.
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
		wantErr(t, "Shutdown", err, context.DeadlineExceeded)
		if e, ok := errors.AsType[*nsqx.CloseError](err); !ok || e.Unconfirmed != 3 || !strings.Contains(e.Error(), "3 messages unconfirmed") {
			t.Errorf("Shutdown returned %v", err)
		}
		wantUnanswered(t, []error{<-results, <-results, <-results})
		other.Wait()
		synctest.Wait() // for the server
		want(t, "connections", len(s.Conns()), 0)
	})
}

// TestPublisherShutdownWhileDiscovering: Shutdown may come while an answer of a source is applied.
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
		both.Go(func() { wantErr(t, "Shutdown", p.Shutdown(t.Context()), nil) })
		both.Wait()
	}
}

// TestPublisherShutdown: publishes in flight are confirmed, later ones are not sent, and
// connections are half-closed.
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
		wantErr(t, "second Shutdown whose ctx ends", p.Shutdown(ctx), context.DeadlineExceeded)
		for _, result := range results {
			wantKind(t, <-result, nil)
		}
		wantErr(t, "Shutdown", <-closed, nil)
		wantErr(t, "second Shutdown", <-again, nil)
		wantErr(t, "third Shutdown", p.Shutdown(t.Context()), nil)
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

// TestPublisherShutdownWhileSendsWaitS13: each publish that is in flight when ctx ends gets exactly
// one result.
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
		want(t, "took", time.Since(start), time.Second)
		wantErr(t, "Shutdown", err, context.DeadlineExceeded)
		wantErr(t, "Shutdown", err, errOther)
		if e, ok := err.(*nsqx.CloseError); !ok || e.Unconfirmed != 10 {
			t.Errorf("Shutdown returned %v", err)
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
		wantErr(t, "Shutdown", p.Shutdown(ctx), context.DeadlineExceeded)
		wantKind(t, <-waiting, nsqx.ErrNotSent)
	})
}

// TestPublisherShutdownAndUserCode: middleware and hooks that hang delay Shutdown by at most one
// second, so a hook may call Shutdown.
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
		wantErr(t, "Shutdown", p.Shutdown(ctx), context.DeadlineExceeded)
		want(t, "took", time.Since(start), 2*time.Second)
	})
	bubble(t, "a hook calls Shutdown", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		made := make(chan *nsqx.Publisher, 1)
		closed := make(chan error, 1)
		p := newPublisher(t, []*nsqxtest.Server{s}, nsqx.WithHooks(observe.Hooks{OnConnect: func(observe.ConnEvent) {
			closed <- (<-made).Shutdown(context.Background())
		}}))
		made <- p
		if e, ok := errors.AsType[*nsqx.CloseError](<-closed); !ok || !e.HookRuns || e.Err != nil {
			t.Errorf("Shutdown: got %v, want only the hook itself", e)
		}
		wantErr(t, "health", p.Healthy(), nsqx.ErrNotRunning)
	})
}
