package test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// TestBatchContext: the messages of a slow batch are touched, until max-msg-timeout.
func TestBatchContext(t *testing.T) {
	for name, tt := range map[string]struct {
		opts  []nsqx.ConsumerOption
		lasts time.Duration
	}{
		"touched":     {lasts: 15*time.Minute - 2*time.Second},
		"not touched": {opts: opts(nsqx.WithoutBatchTouch()), lasts: time.Minute - 2*time.Second},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
			var lasted time.Duration
			var cause, end error
			b := &batches{handle: func(ctx context.Context, b *handler.Batch[string]) error {
				if b.Item(0).Message.Attempts > 1 {
					return nil
				}
				start := time.Now()
				<-ctx.Done()
				lasted, cause, end = time.Since(start), context.Cause(ctx), ctx.Err()
				return end
			}}
			nsqxtest.Run(t, b.consumer(t, append(tt.opts, nsqx.WithBatch(3, time.Second), s.Option(), nsqx.WithRetry(retry.Schedule(time.Second)))...))
			sendNumbers(s, 1, 3)
			s.Await("orders", "billing", settled(3))
			if lasted < tt.lasts || lasted > tt.lasts+2*time.Second {
				t.Errorf("lasted %v, want %v or a little more", lasted, tt.lasts)
			}
			want(t, "cause", cause, handler.ErrMessageTimeout)
			want(t, "end", end, context.DeadlineExceeded)
			want(t, "requeued", s.Stats("orders", "billing").Requeued, 3)
			want(t, "timeouts", s.Stats("orders", "billing").TimedOut, 0)
		})
	}
}

// TestBatchConnLost: the loss of one connection ends the time of its items only.
func TestBatchConnLost(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2, nsqxtest.WithPatience(time.Hour))
		first := true
		b := &batches{handle: func(ctx context.Context, b *handler.Batch[string]) error {
			if !first {
				return nil
			}
			first = false
			s[0].Disconnect()
			synctest.Wait()
			wantErr(t, "context", ctx.Err(), nil)
			return nil
		}}
		c := b.consumer(t, nsqx.WithBatch(6, time.Second), nsqxtest.Option(s...))
		nsqxtest.Run(t, c)
		time.Sleep(time.Second)
		sendNumbers(s[0], 1, 3)
		sendNumbers(s[1], 4, 3)
		s[1].Await("orders", "billing", settled(3))
		s[0].Await("orders", "billing", settled(3))
		want(t, "sizes", b.sizes(), "6 3")
		want(t, "lost", c.Stats().Lost, 3)
		want(t, "attempts on the other", s[1].Stats("orders", "billing").Requeued, 0)
	})
	bubble(t, "all", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		var cause error
		b := &batches{handle: func(ctx context.Context, b *handler.Batch[string]) error {
			if b.Item(0).Message.Attempts > 1 {
				return nil
			}
			s.Disconnect()
			<-ctx.Done()
			cause = context.Cause(ctx)
			return nil
		}}
		nsqxtest.Run(t, b.consumer(t, nsqx.WithBatch(6, time.Second), s.Option()))
		sendNumbers(s, 1, 6)
		s.Await("orders", "billing", settled(6))
		want(t, "cause", cause, handler.ErrConnLost)
	})
}

// TestBatchShutdown: the drain completes the batch that forms; what is left goes back at once.
func TestBatchShutdown(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		b := &batches{}
		stop := nsqxtest.Run(t, b.consumer(t, nsqx.WithBatch(100, 20*time.Second), s.Option()))
		sendNumbers(s, 1, 5)
		time.Sleep(time.Second)
		want(t, "sizes", b.sizes(), "")
		stop()
		want(t, "sizes", b.sizes(), "5")
		want(t, "finished", s.Stats("orders", "billing").Finished, 5)
	})
	bubble(t, "busy", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		b := &batches{handle: func(ctx context.Context, b *handler.Batch[string]) error {
			time.Sleep(3 * time.Second)
			return nil
		}}
		stop := nsqxtest.Run(t, b.consumer(t, nsqx.WithBatch(5, 20*time.Second), s.Option()))
		sendNumbers(s, 1, 12)
		time.Sleep(time.Second)
		stop()
		want(t, "sizes", b.sizes(), "5")
		want(t, "finished", s.Stats("orders", "billing").Finished, 5)
		want(t, "depth", s.Stats("orders", "billing").Depth, 7)
	})
	bubble(t, "hangs", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		release := make(chan struct{})
		var kept *handler.Batch[string]
		b := &batches{handle: func(ctx context.Context, b *handler.Batch[string]) error {
			kept = b
			<-release
			return nil
		}}
		c := b.consumer(t, nsqx.WithBatch(5, time.Second), s.Option(), nsqx.WithShutdownTimeout(time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		sendNumbers(s, 1, 5)
		time.Sleep(2 * time.Second)
		cancel()
		e, ok := errors.AsType[*nsqx.ShutdownError](<-ended)
		if !ok {
			t.Fatal("no ShutdownError")
		}
		want(t, "abandoned", len(e.Abandoned), 5)
		want(t, "running", e.Running, 1)
		want(t, "depth", s.Stats("orders", "billing").Depth, 5)
		close(release)
		synctest.Wait()
		wantErr(t, "Fail after the end", kept.Fail(0, errBill), handler.ErrSettled)
		want(t, "values after the end", fmt.Sprint(kept.Values()), "[1 2 3 4 5]")
	})
}

// TestBatchPause: a batch that forms is given back.
func TestBatchPause(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		b := &batches{}
		c := b.consumer(t, nsqx.WithBatch(100, 20*time.Second), s.Option())
		nsqxtest.Run(t, c)
		sendNumbers(s, 1, 5)
		time.Sleep(time.Second)
		c.Pause()
		time.Sleep(time.Minute)
		want(t, "sizes", b.sizes(), "")
		c.Resume()
		s.Await("orders", "billing", settled(5))
		want(t, "sizes", b.sizes(), "5")
	})
}

// TestBatchBreaker: an outage costs a message few attempts, and ends with a batch of one.
func TestBatchBreaker(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		var down bool
		b := &batches{handle: func(context.Context, *handler.Batch[string]) error {
			if down {
				return errBill
			}
			return nil
		}}
		c := b.consumer(t, nsqx.WithBatch(10, time.Second), s.Option())
		nsqxtest.Run(t, c)
		down = true
		sendNumbers(s, 1, 100)
		time.Sleep(10 * time.Minute)
		want(t, "open", c.Stats().Backoff, true)
		down = false
		s.Await("orders", "billing", settled(100))
		for i := range 100 {
			if n := s.Attempts("orders", "billing", handler.ID(fmt.Appendf(nil, "%016x", i+1))); n > 20 {
				t.Errorf("message %d: %d attempts", i+1, n)
			}
		}
		sendNumbers(s, 101, 100)
		time.Sleep(time.Minute)
		want(t, "closed", c.Stats().Backoff, false)
	})
}

// TestBatchStall: batches that take their time cost nobody an attempt.
func TestBatchStall(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 3, nsqxtest.WithPatience(time.Hour))
		b := &batches{handle: func(context.Context, *handler.Batch[string]) error {
			time.Sleep(5 * time.Second)
			return nil
		}}
		c := b.consumer(t, nsqx.WithBatch(50, time.Second), nsqx.WithConcurrency(2), nsqxtest.Option(s...))
		nsqxtest.Run(t, c)
		start := time.Now()
		for _, s := range s {
			sendNumbers(s, 1, 500)
		}
		for _, s := range s {
			s.Await("orders", "billing", settled(500))
		}
		if took := time.Since(start); took > 100*time.Second {
			t.Errorf("took %v, want 75 s or a little more", took)
		}
		if n := c.Stats().GivenBack; n > 100 {
			t.Errorf("given back %d of 1500", n)
		}
	})
}
