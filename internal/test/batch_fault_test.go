package test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// TestBatchCallbacksExit: user code that decides on one item, and calls Goexit, costs that item a
// retry, whether it is alone or not. The other items keep their answers.
func TestBatchCallbacksExit(t *testing.T) {
	for name, o := range map[string]nsqx.ConsumerOption{
		"policy":      nsqx.WithRetry(retry.PolicyFunc(func(int, error) time.Duration { runtime.Goexit(); return 0 })),
		"mapping":     nsqx.WithErrors(func(error) error { runtime.Goexit(); return nil }),
		"dead letter": nsqx.WithConsumerOptions(nsqx.WithMaxAttempts(1), nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error { runtime.Goexit(); return nil })),
	} {
		for failing := 1; failing <= 2; failing++ {
			bubble(t, fmt.Sprint(name, " ", failing), func(t *testing.T) {
				s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
				b := &batches{handle: func(_ context.Context, b *handler.Batch[string]) error {
					for i, item := range b.All() {
						if i < failing && item.Message.Attempts == 1 {
							_ = b.Fail(i, errBill)
						}
					}
					return nil
				}}
				c := b.consumer(t, nsqx.WithBatch(3, time.Second), s.Option(), o)
				nsqxtest.Run(t, c)
				sendNumbers(s, 1, 3)
				s.Await("orders", "billing", settled(3))
				want(t, "finished", c.Stats().Finished, 3)
				want(t, "requeued", c.Stats().Requeued, uint64(failing))
			})
		}
	}
}

// TestBatchTouchRefused: a refused TOUCH of one item ends the time of its batch at once. That item is
// given to another consumer; the others are answered.
func TestBatchTouchRefused(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		var refused atomic.Value // of string
		s.On("TOUCH", func(_ *nsqxtest.ServerConn, cmd nsqxtest.Command) nsqxtest.Action {
			if cmd.Param(0) != refused.Load() {
				return nsqxtest.Proceed()
			}
			return nsqxtest.Fail("E_TOUCH_FAILED TOUCH " + cmd.Param(0) + " failed ID not in flight")
		})
		var lasted time.Duration
		var cause error
		b := &batches{handle: func(ctx context.Context, b *handler.Batch[string]) error {
			if lasted > 0 {
				return nil
			}
			refused.Store(b.Item(1).Message.ID.String())
			began := time.Now()
			<-ctx.Done()
			lasted, cause = time.Since(began), context.Cause(ctx)
			return ctx.Err()
		}}
		c := b.consumer(t, nsqx.WithBatch(3, time.Second), s.Option(), nsqx.WithRetry(retry.Schedule(time.Second)))
		nsqxtest.Run(t, c)
		sendNumbers(s, 1, 3)
		s.Await("orders", "billing", settled(3))
		if lasted < 28*time.Second || lasted > 30*time.Second {
			t.Errorf("lasted %v, want until the first TOUCH", lasted)
		}
		want(t, "cause", cause, handler.ErrMessageTimeout)
		want(t, "requeued", s.Stats("orders", "billing").Requeued, 2)
		want(t, "expired", c.Stats().Expired, 1)
	})
}

// TestBatchHangs: an item that hangs its batch takes one worker. nsqd delivers its messages again,
// and the late result changes nothing.
func TestBatchHangs(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		release := make(chan struct{})
		b := &batches{handle: func(_ context.Context, b *handler.Batch[string]) error {
			if item := b.Item(0); item.Value == "1" && item.Message.Attempts == 1 {
				<-release
				return errBill
			}
			return nil
		}}
		c := b.consumer(t, nsqx.WithBatch(5, time.Second), nsqx.WithConcurrency(2), nsqx.WithoutBatchTouch(), s.Option())
		nsqxtest.Run(t, c)
		sendNumbers(s, 1, 5)
		for i := range 20 {
			time.Sleep(time.Second)
			sendNumbers(s, 10*(i+1), 5)
		}
		time.Sleep(5 * time.Second)
		want(t, "others finished", s.Stats("orders", "billing").Finished, 100)
		s.Await("orders", "billing", settled(105))
		want(t, "timed out", s.Stats("orders", "billing").TimedOut, 5)
		want(t, "overdue", c.Stats().Overdue, 5)
		close(release)
		synctest.Wait()
		want(t, "expired", c.Stats().Expired, 5)
		sendNumbers(s, 500, 10)
		s.Await("orders", "billing", settled(115))
		want(t, "given back", c.Stats().GivenBack, 0)
	})
}

// TestBatchRestart: nsqd restarts while a batch is handled, another forms, and a third is in nsqd.
func TestBatchRestart(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		b := &batches{handle: func(context.Context, *handler.Batch[string]) error {
			time.Sleep(2 * time.Second)
			return nil
		}}
		c := b.consumer(t, nsqx.WithBatch(10, 20*time.Second), nsqx.WithConcurrency(2), s.Option())
		nsqxtest.Run(t, c)
		sendNumbers(s, 1, 14)
		time.Sleep(time.Second)
		want(t, "sizes", b.sizes(), "10")
		s.Stop()
		time.Sleep(time.Second)
		s.Start("")
		s.Await("orders", "billing", settled(14))
		want(t, "sizes", b.sizes(), "10 10 4")
		want(t, "lost", c.Stats().Lost, 14)
	})
}

// TestBatchFlood: what nsqd sends beyond RDY is given back, and does not make small batches.
func TestBatchFlood(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour), nsqxtest.WithMessageTimeout(4*time.Second))
		b := &batches{handle: func(_ context.Context, b *handler.Batch[string]) error {
			if b.Item(0).Message.Attempts == 1 {
				time.Sleep(10 * time.Second) // nsqd counts none of them any more, and sends more
			}
			return nil
		}}
		c := b.consumer(t, nsqx.WithBatch(10, time.Second), nsqx.WithMaxInFlight(10), nsqx.WithoutBatchTouch(), s.Option())
		nsqxtest.Run(t, c)
		sendNumbers(s, 1, 60)
		s.Await("orders", "billing", settled(60))
		want(t, "unseen", c.Stats().Dropped+c.Stats().DeadLettered, 0)
		sendNumbers(s, 101, 10)
		s.Await("orders", "billing", settled(70))
		sizes := b.all()
		want(t, "the last", len(sizes[len(sizes)-1]), 10)
	})
}

// TestBatchBytes: larger messages than expected reach the limit of bytes before the size of a batch. A
// batch that holds all that may wait is complete.
func TestBatchBytes(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		var first time.Time // of the large ones
		b := &batches{handle: func(_ context.Context, b *handler.Batch[string]) error {
			if len(b.Values()[0]) > 1000 && first.IsZero() {
				first = time.Now()
			}
			return nil
		}}
		nsqxtest.Run(t, b.consumer(t, nsqx.WithBatch(50, 20*time.Second), nsqx.WithMaxInFlightBytes(1<<20), s.Option()))
		sendNumbers(s, 1, 500) // so that 50 are thought to fit
		s.Await("orders", "billing", settled(500))
		start := time.Now()
		bodies := make([][]byte, 100)
		for i := range bodies {
			bodies[i] = make([]byte, 100_000)
		}
		s.Publish("orders", bodies...)
		s.Await("orders", "billing", settled(600))
		if waited := first.Sub(start); waited > time.Second {
			t.Errorf("the first waited for %v: batches of %s", waited, b.sizes())
		}
	})
}

// TestBatchSettings: settings change while batches form and run; every message is handled once.
func TestBatchSettings(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2, nsqxtest.WithPatience(time.Hour))
		b := &batches{handle: func(context.Context, *handler.Batch[string]) error {
			time.Sleep(30 * time.Millisecond)
			return nil
		}}
		c := b.consumer(t, nsqx.WithBatch(10, 50*time.Millisecond), nsqxtest.Option(s...))
		nsqxtest.Run(t, c)
		for i := range 200 {
			sendNumbers(s[i%2], 7*i, 7)
			switch i % 5 {
			case 0:
				c.SetConcurrency(1 + i%7)
			case 1:
				c.Pause()
			case 2:
				c.SetMaxInFlight([]int{0, 10, 25, 3}[i/5%4])
			case 3:
				c.Resume()
			}
			time.Sleep(time.Duration(i%11) * 7 * time.Millisecond)
		}
		c.SetMaxInFlight(0)
		c.SetConcurrency(2)
		c.Resume()
		for _, s := range s {
			s.Await("orders", "billing", settled(700))
		}
		seen := map[string]int{}
		for _, values := range b.all() {
			for _, v := range values {
				seen[v]++
			}
		}
		want(t, "messages", len(seen), 1400)
		for v, n := range seen {
			if n > 1 {
				t.Errorf("message %s was handled %d times", v, n)
			}
		}
		want(t, "lost, expired", c.Stats().Lost+c.Stats().Expired, 0)
		want(t, "running", c.Stats().Running, 0)
	})
}

// TestBatchQuiet: on a quiet topic a message waits for its batch, not for nsqd's buffer.
func TestBatchQuiet(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		var waited synced[time.Duration]
		b := &batches{handle: func(_ context.Context, b *handler.Batch[string]) error {
			waited.add(time.Since(b.Item(0).Message.Timestamp()))
			return nil
		}}
		nsqxtest.Run(t, b.consumer(t, nsqx.WithBatch(500, 50*time.Millisecond), s.Option()))
		for i := range 200 {
			sendNumbers(s, i, 1)
			time.Sleep(time.Duration(100+13*(i%50)) * time.Millisecond)
		}
		want(t, "batches", len(waited.all()), 200)
		if p50 := slices.Sorted(slices.Values(waited.all()))[100]; p50 > 55*time.Millisecond {
			t.Errorf("p50 from publish to handler is %v, want 55 ms at most", p50)
		}
	})
}

// TestBatchWithoutTheLost: what was lost before its batch began is no part of it.
func TestBatchWithoutTheLost(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2, nsqxtest.WithPatience(time.Hour))
		release := make(chan struct{})
		b := &batches{handle: func(_ context.Context, b *handler.Batch[string]) error {
			if b.Item(0).Value == "1" {
				time.Sleep(800 * time.Millisecond)
			} else {
				<-release
			}
			return nil
		}}
		c := b.consumer(t, nsqx.WithBatch(6, 300*time.Millisecond), nsqxtest.Option(s...), nsqx.WithShutdownTimeout(time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		time.Sleep(time.Second)
		sendNumbers(s[1], 1, 1)
		time.Sleep(400 * time.Millisecond)
		sendNumbers(s[1], 2, 2)
		time.Sleep(50 * time.Millisecond)
		sendNumbers(s[0], 4, 2)
		time.Sleep(50 * time.Millisecond)
		s[0].Refuse(true)
		s[0].Disconnect()
		time.Sleep(time.Second)
		want(t, "sizes", b.sizes(), "1 2")
		want(t, "in progress", len(c.Stats().InProgress), 2)
		cancel()
		e, _ := errors.AsType[*nsqx.ShutdownError](<-ended)
		if e == nil {
			t.Fatal("no ShutdownError")
		}
		want(t, "abandoned", len(e.Abandoned), 2)
		close(release)
	})
}

// TestBatchPartial: while a batch that is not full takes its time, no message waits for the next one
// here: another replica may be free.
func TestBatchPartial(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		b := &batches{handle: func(context.Context, *handler.Batch[string]) error {
			time.Sleep(9 * time.Second)
			return nil
		}}
		c := b.consumer(t, nsqx.WithBatch(40, 40*time.Millisecond), s.Option())
		nsqxtest.Run(t, c)
		for i := range 60 {
			sendNumbers(s, i, 1)
			time.Sleep(time.Second)
		}
		s.Await("orders", "billing", settled(60))
		if n := c.Stats().GivenBack; n > 0 {
			t.Errorf("%d of 60 were given back; batches of %s", n, b.sizes())
		}
		if n := len(b.all()); n > 8 {
			t.Errorf("%d batches, want all that have arrived in one: %s", n, b.sizes())
		}
	})
}
