package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestPublishAsync: done is called once for each message, with the result that Publish would
// return.
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

// TestAsyncBound: with 1024 publishes in flight the next one waits, until its ctx ends.
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

// TestAsyncUserPanics: a panic of done or of middleware does not crash the process.
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
		synctest.Wait()
		want(t, "logged", log.count(slog.LevelError, "panicked"), 1)
		want(t, "published", published(s, "orders"), "x")
		wantErr(t, "Shutdown", p.Shutdown(t.Context()), nil)
	})
}

// TestAsyncUserExits: runtime.Goexit in middleware or done costs one publish. done hears of it, it is
// logged once, and nothing waits for it for ever.
func TestAsyncUserExits(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		log := &logbook{}
		mw := func(next handler.Send) handler.Send {
			return func(ctx context.Context, out *handler.Outgoing) error {
				if string(out.Messages[0].Body) == "exit" {
					runtime.Goexit()
				}
				return next(ctx, out)
			}
		}
		p := newProducer(t, s.Option(), nsqx.WithLogger(slog.New(log)), nsqx.WithSendMiddleware(mw))
		const n = 2000 // more than may be under way
		results := make(chan error, n)
		for range n {
			wantKind(t, p.PublishAsync(t.Context(), "exit", func(err error) { results <- err }), nil)
		}
		wantErr(t, "Flush", p.Flush(t.Context()), nil)
		for range n {
			err := <-results
			wantKind(t, err, nsqx.ErrUnconfirmed)
			if _, ok := errors.AsType[*handler.PanicError](err); !ok {
				t.Fatalf("error is %v", err)
			}
		}
		want(t, "logged", log.count(slog.LevelError, "middleware or telemetry called runtime.Goexit"), n)
		wantKind(t, p.PublishAsync(t.Context(), "exit", nil), nil)
		wantKind(t, p.PublishAsync(t.Context(), "x", func(error) { runtime.Goexit() }), nil)
		wantErr(t, "Flush", p.Flush(t.Context()), nil)
		want(t, "logged", log.count(slog.LevelError, "a callback called runtime.Goexit"), 1)
		want(t, "published", published(s, "orders"), "x")
		wantErr(t, "Shutdown", p.Shutdown(t.Context()), nil)
	})
}

// TestDoneHangs: a done that hangs delays Shutdown by at most one second after its ctx has ended.
func TestDoneHangs(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard))
		hang := make(chan struct{})
		defer close(hang)
		wantKind(t, p.PublishAsync(t.Context(), "x", func(error) { <-hang }), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		wantErr(t, "Shutdown", p.Shutdown(ctx), context.DeadlineExceeded)
		want(t, "took", time.Since(start), 2*time.Second)
	})
}
