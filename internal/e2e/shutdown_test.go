package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/retry"
)

// TestShutdownIdleS1 is not parallel: it checks what this process leaves behind.
func TestShutdownIdleS1(t *testing.T) {
	a, b, gone := testnsqd.Start(t), testnsqd.Start(t), testnsqd.Start(t)
	gone.Stop()
	w := new(watch)
	c := newConsumer(t, func(context.Context, string) error { return nil },
		nsqx.WithNSQD(a.Addr(), b.Addr(), gone.Addr()), nsqx.WithHooks(w.hooks()))
	r := start(t, c)
	w.connected(t, 2)
	eventually(t, func() bool { return len(w.events(&w.dialErrors)) >= 2 }, "dials that fail")
	r.mustStop()
	if n := a.Clients() + b.Clients(); n > 0 {
		t.Errorf("nsqd still has %d clients", n)
	}
	if !settles(func() bool { return len(ours()) == 0 }) {
		t.Errorf("left behind: %s", ours())
	}
	for _, ev := range w.events(&w.disconnects) {
		if ev.Err != nil || ev.Retry > 0 {
			t.Errorf("disconnected with %v, retry %v", ev.Err, ev.Retry)
		}
	}
	if n := len(w.events(&w.disconnects)); n != 2 {
		t.Errorf("%d disconnects, want 2", n)
	}
}

// TestShutdownBusyS2: running handlers finish, and their messages do not come back.
func TestShutdownBusyS2(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t)
		publish(t, s, topic, numbered("m", 100)...)
		g := newGated(t)
		c := newConsumer(t, g.handle, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(8), nsqx.WithMaxInFlight(32))
		r := start(t, c)
		var handled []string
		for range 8 {
			handled = append(handled, receive(t, g.began, "eight handlers"))
		}
		r.cancel()
		eventually(t, func() bool { return s.Channel(topic, channel).InFlight == 8 }, "the others to be requeued")
		close(g.gate)
		r.mustStop()
		if st := s.Channel(topic, channel); st.InFlight > 0 || st.Depth != 92 || st.TimedOut > 0 {
			t.Errorf("nsqd says %+v, want 92 waiting", st)
		}
		if stats := c.Stats(); stats.Finished != 8 {
			t.Errorf("stats %+v, want 8 finished", stats)
		}
		rest := collect(t, s, topic, channel, 92)
		for _, body := range handled {
			if slices.Contains(rest, body) {
				t.Errorf("%q came back", body)
			}
		}
	})
}

// TestShutdownPrefetchedS3: (I16) messages that no handler has started reach another consumer at
// once, while the first one's handler still runs.
func TestShutdownPrefetchedS3(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t) // message timeout 60 s
		publish(t, s, topic, numbered("m", 200)...)
		g := newGated(t)
		c := newConsumer(t, g.handle, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(200), nsqx.WithFixedRDY())
		r := start(t, c)
		first := receive(t, g.began, "the handler")
		eventually(t, func() bool { return c.Stats().Queued == 199 }, "199 prefetched messages")

		book := newLedger()
		second := start(t, newConsumer(t, func(ctx context.Context, body string) error {
			book.begin(ctx, body)
			book.succeed(body)
			return nil
		}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(4)))
		began := time.Now()
		r.cancel()
		book.wait(t, 199)
		if took := time.Since(began); took > time.Second+slack {
			t.Errorf("199 messages were with the other consumer after %v", took)
		}
		close(g.gate)
		r.mustStop()
		eventually(t, func() bool { return s.Channel(topic, channel).Unfinished() == 0 }, "all messages to be finished")
		second.mustStop()
		if st := s.Channel(topic, channel); st.TimedOut > 0 || st.Requeued != 199 {
			t.Errorf("nsqd says %+v, want 199 requeued", st)
		}
		if len(book.of(first)) > 0 || book.extra() > 0 {
			t.Errorf("%d messages came more than once", book.extra()+len(book.of(first)))
		}
		if stats := c.Stats(); stats.Finished != 1 || stats.Interrupted != 199 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// TestShutdownHonouredS4: row 3 of the outcomes. If a handler fails because of the shutdown, its
// message is requeued at once, whatever the bounds. If it returns nil, the message is finished.
func TestShutdownHonouredS4(t *testing.T) {
	t.Parallel()
	for name, timeout := range map[string]time.Duration{"after the timeout": 50 * time.Millisecond, "at once": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				s := testnsqd.Start(t)
				s.EnsureChannel("dead", channel)
				w := new(watch)
				began := make(chan struct{}, 3)
				c := newConsumer(t, func(ctx context.Context, body string) error {
					began <- struct{}{}
					<-ctx.Done()
					if cause := context.Cause(ctx); cause != handler.ErrShutdown {
						t.Errorf("context ended with cause %v", cause)
					}
					switch body {
					case "done":
						return nil
					case "permanent":
						return retry.Permanent(ctx.Err())
					}
					return ctx.Err()
				}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(3), nsqx.WithMaxAttempts(1), nsqx.WithDeadLetter("dead"),
					nsqx.WithShutdownTimeout(timeout), nsqx.WithHooks(w.hooks()), at(time.Hour))
				publish(t, s, topic, []byte("done"), []byte("interrupted"), []byte("permanent"))
				r := start(t, c)
				for range 3 {
					receive(t, began, "three handlers")
				}
				err := r.stop()
				if timeout > 0 && err != nil {
					t.Errorf("Run: %v", err)
				}
				st := s.Channel(topic, channel)
				if st.InFlight > 0 || st.Deferred > 0 || s.Channel("dead", channel).Messages > 0 {
					t.Errorf("nsqd says %+v, dead letters %+v", st, s.Channel("dead", channel))
				}
				left := collect(t, s, topic, channel, int(st.Depth))
				if timeout == 0 {
					return // handler and drain race
				}
				if want := []string{"interrupted", "permanent"}; !slices.Equal(left, want) {
					t.Errorf("%q left, want %q", left, want)
				}
				for _, o := range w.settled() {
					want := handler.Interrupted
					if o.body == "done" {
						want = handler.Finish
					}
					if o.outcome.Disposition != want || o.outcome.Delay != 0 {
						t.Errorf("%q: %s after %v", o.body, o.outcome.Disposition, o.outcome.Delay)
					}
				}
			})
		})
	}
}

// TestShutdownIgnoredS5F18: Run does not wait for a handler that ignores its context. Its message
// is requeued, and its late nil has no effect.
func TestShutdownIgnoredS5F18(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t)
		p := testnsqd.StartProxy(t, s.Addr())
		publish(t, s, topic, []byte("m"))
		fins := commands(p, "FIN ")
		g := newGated(t)
		const timeout = 50 * time.Millisecond
		c := newConsumer(t, g.handle, nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(1), nsqx.WithShutdownTimeout(timeout))
		r := start(t, c)
		receive(t, g.began, "the handler")
		cancelled := time.Now()
		err := r.stop()
		if took := time.Since(cancelled); took > timeout+2*time.Second+slack {
			t.Errorf("Run returned after %v", took)
		}
		e, ok := errors.AsType[*nsqx.ShutdownError](err)
		if !ok || !errors.Is(err, context.DeadlineExceeded) || len(e.Unconfirmed) > 0 || e.Running != 1 || len(e.Abandoned) != 1 {
			t.Fatalf("Run: %v", err)
		}
		a := e.Abandoned[0]
		if !a.Requeued || a.NSQD != p.Addr() || a.Topic != topic || a.Channel != channel || a.Attempts != 1 {
			t.Errorf("abandoned %+v", a)
		}
		if st := s.Channel(topic, channel); st.Depth != 1 || st.InFlight > 0 || st.Clients > 0 {
			t.Errorf("nsqd says %+v, want the message requeued", st)
		}
		close(g.gate)
		if !settles(func() bool { return c.Stats().Running == 0 }) {
			t.Error("the handler was released, and still runs")
		}
		if got := collect(t, s, topic, channel, 1); got[0] != "m" || fins.Load() > 0 {
			t.Errorf("%q left, after %d FIN", got, fins.Load())
		}
	})
}

// TestShutdownAtOnceS6: without a timeout all messages are requeued at once, even if their handlers
// return just then. Each is answered once, by the handler or the shutdown.
func TestShutdownAtOnceS6(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const rounds, n = 10, 64
		s := testnsqd.Start(t)
		for round := range rounds {
			topic := fmt.Sprintf("round%d", round)
			publish(t, s, topic, numbered("m", n)...)
			book, w := newLedger(), new(watch)
			c := newConsumerOf(t, topic, channel, func(ctx context.Context, body string) error {
				book.begin(ctx, body)
				<-ctx.Done()
				if len(body)%2 == 0 {
					return nil
				}
				return ctx.Err()
			}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(16), nsqx.WithShutdownTimeout(0), nsqx.WithHooks(w.hooks()))
			r := start(t, c)
			eventually(t, func() bool { return c.Stats().Running == 16 }, "16 handlers")
			err := r.stop()
			if e, ok := errors.AsType[*nsqx.ShutdownError](err); err != nil && (!ok || e.Running > 0 || len(e.Unconfirmed) > 0) {
				t.Errorf("Run: %v", err)
			}
			st, stats := s.Channel(topic, channel), c.Stats()
			link := stats.Connections[0]
			if st.InFlight > 0 || st.Deferred > 0 || int(link.Finished)+int(st.Depth) != n || link.Refused > 0 || link.InFlight != 0 {
				t.Errorf("round %d: nsqd says %+v, we %+v", round, st, link)
			}
			if link.Requeued != st.Requeued || link.Received != link.Finished+link.Requeued {
				t.Errorf("round %d: %d requeued, nsqd says %+v", round, link.Requeued, st)
			}
		}
	})
}

// TestShutdownBeforeS6S7: the ctx is cancelled before Run.
func TestShutdownBeforeS6S7(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t)
		p := testnsqd.StartProxy(t, s.Addr())
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c := newConsumer(t, func(context.Context, string) error { return nil }, nsqx.WithNSQD(p.Addr()))
		began := time.Now()
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(began); took > 250*time.Millisecond+slack {
			t.Errorf("Run returned after %v", took)
		}
		if p.Accepted() > 0 || s.Clients() > 0 {
			t.Errorf("%d connections were made", p.Accepted())
		}
		if err := c.Run(context.Background()); err != nsqx.ErrAlreadyRun {
			t.Errorf("second Run: %v", err)
		}
	})
}

// TestShutdownAtAnyTime cancels at every moment of the connect and after it. Not parallel: the
// number of messages after CLOSE_WAIT depends on the load.
func TestShutdownAtAnyTime(t *testing.T) {
	const rounds, n = 50, 50
	s := testnsqd.Start(t)
	publish(t, s, topic, numbered("m", n)...)
	late := 0
	for i := range rounds {
		c := newConsumer(t, func(context.Context, string) error { return retry.After(0, nil) },
			nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(4))
		r := start(t, c)
		time.Sleep(time.Duration(i) * 50 * time.Microsecond)
		r.mustStop()
		late = stragglers(t, s, topic, late+1, n)
	}
	if late > rounds/10 {
		t.Errorf("%d messages were left in flight in %d rounds", late, rounds)
	}
}

// TestShutdownTwiceS7: twice, concurrently, and from a handler.
func TestShutdownTwiceS7(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t)
		publish(t, s, topic, []byte("m"))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var c *nsqx.Consumer[string]
		c = newConsumer(t, func(inner context.Context, _ string) error {
			if err := c.Run(ctx); err != nsqx.ErrAlreadyRun {
				t.Errorf("Run in a handler: %v", err)
			}
			var cancels sync.WaitGroup
			for range 4 {
				cancels.Go(cancel)
			}
			cancels.Wait()
			return inner.Err() // nil: the handler's own context has not ended
		}, nsqx.WithNSQD(s.Addr()))
		var refused atomic.Int64
		var runs sync.WaitGroup
		for range 8 {
			runs.Go(func() {
				switch err := c.Run(ctx); err {
				case nil:
				case nsqx.ErrAlreadyRun:
					refused.Add(1)
				default:
					t.Errorf("Run: %v", err)
				}
			})
		}
		runs.Wait()
		if refused.Load() != 7 {
			t.Errorf("%d of 8 Runs were refused", refused.Load())
		}
		if st := s.Channel(topic, channel); st.Messages != 1 || st.Unfinished() > 0 {
			t.Errorf("nsqd says %+v, want the message finished", st)
		}
	})
}

// TestShutdownAfterFailureS7: the connection is lost, and nsqd is gone.
func TestShutdownAfterFailureS7(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t)
		p := testnsqd.StartProxy(t, s.Addr())
		publish(t, s, topic, []byte("m"))
		g, w := newGated(t), new(watch)
		c := newConsumer(t, g.handle, nsqx.WithNSQD(p.Addr()), nsqx.WithHooks(w.hooks()), nsqx.WithShutdownTimeout(50*time.Millisecond))
		r := start(t, c)
		receive(t, g.began, "the handler")
		p.Refuse()
		p.Reset()
		eventually(t, func() bool { return len(w.events(&w.dialErrors)) > 0 }, "a dial that fails")
		err := r.stop()
		e, ok := errors.AsType[*nsqx.ShutdownError](err)
		if !ok || len(e.Abandoned) != 1 || e.Abandoned[0].Requeued || e.Running != 1 {
			t.Errorf("Run: %v, want the message abandoned and not requeued", err)
		}
		close(g.gate)
		if st := s.Channel(topic, channel); st.Unfinished() != 1 {
			t.Errorf("nsqd says %+v, want the message kept", st)
		}
	})
}

// TestShutdownOfSeveral: nsqx.Run stops all services, and each shuts down in order.
func TestShutdownOfSeveral(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var services []nsqx.Service
		var handled atomic.Int64
		for i := range 3 {
			topic := fmt.Sprintf("topic%d", i)
			publish(t, s, topic, numbered("m", 20)...)
			services = append(services, newConsumerOf(t, topic, channel, func(context.Context, string) error {
				if handled.Add(1) == 40 {
					cancel()
				}
				return nil
			}, nsqx.WithNSQD(s.Addr())))
		}
		if err := nsqx.Run(ctx, services...); err != nil {
			t.Errorf("Run: %v", err)
		}
		if got := handled.Load(); got < 40 || got > 60 {
			t.Errorf("%d messages were handled", got)
		}
		left := 60 - int(handled.Load())
		for i := range 3 {
			left -= s.Channel(fmt.Sprintf("topic%d", i), channel).Unfinished()
		}
		if left < 0 {
			t.Errorf("%d answers were not processed", -left)
		}
	})
}
