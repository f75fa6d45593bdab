package e2e

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/retry"
)

// TestLost: row 1. After the connection is lost, the handler's result is not sent. nsqd delivers
// the message again after its timeout.
func TestLost(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t, messageTimeout(time.Second))
		p := testnsqd.StartProxy(t, s.Addr())
		s.EnsureChannel("dead", channel)
		book, w := newLedger(), new(watch)
		running := make(chan struct{}, 3)
		reqs := commands(p, "REQ ")
		ends := map[string]error{"nil": nil, "failed": errFailed, "permanent": retry.Permanent(errFailed)}
		c := newConsumer(t, func(ctx context.Context, body string) error {
			book.begin(ctx, body)
			if handler.FromContext(ctx).Attempts == 1 {
				running <- struct{}{}
				<-ctx.Done()
				if cause := context.Cause(ctx); cause != handler.ErrConnLost {
					t.Errorf("context ended with cause %v", cause)
				}
				return ends[body]
			}
			book.succeed(body)
			return nil
		}, nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(3), nsqx.WithMaxAttempts(1), nsqx.WithDeadLetter("dead"), nsqx.WithHooks(w.hooks()))
		publish(t, s, topic, []byte("nil"), []byte("failed"), []byte("permanent"))
		r := start(t, c)
		for range 3 {
			receive(t, running, "three handlers")
		}
		p.Cut()
		book.wait(t, 3)
		finished(t, s, c, 3)
		r.mustStop()

		want := slices.Concat(slices.Repeat([]handler.Disposition{handler.Lost}, 3), slices.Repeat([]handler.Disposition{handler.Finish}, 3))
		if got := dispositions(w); !slices.Equal(got, want) {
			t.Errorf("outcomes %v, want %v", got, want)
		}
		if st := s.Channel(topic, channel); st.Requeued != 0 || st.TimedOut != 3 || reqs.Load() > 0 || s.Channel("dead", channel).Messages > 0 {
			t.Errorf("nsqd says %+v, and has heard %d REQ", st, reqs.Load())
		}
		for body := range ends {
			if d := book.of(body); len(d) != 2 || d[1].attempts != 2 {
				t.Errorf("deliveries of %q: %+v", body, d)
			}
		}
		if stats := c.Stats(); stats.Lost != 3 || stats.Finished != 3 || stats.Connections[0].Refused > 0 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// unanswerable waits until nsqd may have given the message to another consumer.
func unanswerable(m *handler.Message) {
	for (*handler.Delivery)(m).Answerable() {
		time.Sleep(time.Millisecond)
	}
}

// TestExpiredF16: row 2b. A failure that comes too late is not sent, and does not give up the
// message.
func TestExpiredF16(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t, messageTimeout(400*time.Millisecond))
		p := testnsqd.StartProxy(t, s.Addr())
		s.EnsureChannel("dead", channel)
		book, w := newLedger(), new(watch)
		reqs := commands(p, "REQ ")
		c := newConsumer(t, func(ctx context.Context, body string) error {
			book.begin(ctx, body)
			m := handler.FromContext(ctx)
			if m.Attempts > 1 {
				return nil
			}
			unanswerable(m)
			if err := m.Touch(); err != handler.ErrMessageTimeout {
				t.Errorf("TOUCH when it is too late: %v", err)
			}
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) || context.Cause(ctx) != handler.ErrMessageTimeout {
				t.Errorf("context says %v, cause %v", ctx.Err(), context.Cause(ctx))
			}
			return retry.Permanent(errFailed)
		}, nsqx.WithNSQD(p.Addr()), nsqx.WithMaxAttempts(1), nsqx.WithDeadLetter("dead"), nsqx.WithHooks(w.hooks()))
		publish(t, s, topic, []byte("m"))
		r := start(t, c)
		finished(t, s, c, 1)
		r.mustStop()
		want := []handler.Outcome{{Disposition: handler.Expired}, {Disposition: handler.Finish}}
		checkOutcomes(t, w, book.of("m"), want)
		checkCounts(t, s, c.Stats(), want)
		if reqs.Load() > 0 || s.Channel("dead", channel).Messages > 0 {
			t.Errorf("%d REQ on the wire, dead letters %+v", reqs.Load(), s.Channel("dead", channel))
		}
	})
}

// TestHonoursTimeout: a handler that returns when its context ends is still answered, with the
// policy's delay.
func TestHonoursTimeout(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t, messageTimeout(5*time.Second))
		book, w := newLedger(), new(watch)
		c := newConsumer(t, func(ctx context.Context, body string) error {
			book.begin(ctx, body)
			if handler.FromContext(ctx).Attempts > 1 {
				return nil
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}, nsqx.WithNSQD(s.Addr()), nsqx.WithHooks(w.hooks()), at(policyDelay))
		publish(t, s, topic, []byte("m"))
		r := start(t, c)
		finished(t, s, c, 1)
		r.mustStop()
		want := []handler.Outcome{{Disposition: handler.Requeue, Delay: policyDelay}, {Disposition: handler.Finish}}
		checkOutcomes(t, w, book.of("m"), want)
		checkCounts(t, s, c.Stats(), want)
		for _, o := range w.settled()[:1] {
			if o.outcome.Err != handler.ErrMessageTimeout {
				t.Errorf("outcome with %v", o.outcome.Err)
			}
		}
	})
}

// TestLateSuccessF16: row 2 applies after the last instant for a safe answer, too.
func TestLateSuccessF16(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t, messageTimeout(time.Second))
		book, w := newLedger(), new(watch)
		c := newConsumer(t, func(ctx context.Context, body string) error {
			book.begin(ctx, body)
			if m := handler.FromContext(ctx); m.Attempts == 1 {
				unanswerable(m)
			}
			return nil
		}, nsqx.WithNSQD(s.Addr()), nsqx.WithHooks(w.hooks()))
		publish(t, s, topic, []byte("m"))
		r := start(t, c)
		finished(t, s, c, 1)
		r.mustStop()
		// nsqd waits a quarter of a second longer than the consumer assumes.
		if st := s.Channel(topic, channel); st.TimedOut == 0 && len(book.of("m")) != 1 || st.Requeued > 0 {
			t.Errorf("%d deliveries, nsqd says %+v", len(book.of("m")), st)
		}
		for _, d := range dispositions(w) {
			if d != handler.Finish {
				t.Errorf("outcome %v", d)
			}
		}
	})
}

// TestVeryLateSuccessF16: a FIN after the next delivery finishes that delivery. The answer to the
// delivery itself is then refused, without harm.
func TestVeryLateSuccessF16(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t, messageTimeout(300*time.Millisecond))
		book, w := newLedger(), new(watch)
		again := make(chan struct{})
		c := newConsumer(t, func(ctx context.Context, body string) error {
			book.begin(ctx, body)
			if handler.FromContext(ctx).Attempts == 1 {
				await(t, again)
				return nil
			}
			close(again)
			eventually(t, func() bool { return s.Channel(topic, channel).InFlight == 0 }, "the FIN of the first delivery")
			return nil
		}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(2), nsqx.WithHooks(w.hooks()))
		publish(t, s, topic, []byte("m"))
		r := start(t, c)
		eventually(t, func() bool { return len(w.events(&w.refused)) > 0 }, "nsqd to refuse the second FIN")
		finished(t, s, c, 1)
		r.mustStop()
		if got := len(book.of("m")); got != 2 || len(w.events(&w.refused)) != 1 {
			t.Errorf("%d deliveries, refused %v", got, w.events(&w.refused))
		}
		if link := c.Stats().Connections[0]; link.Refused != 1 || link.Dials != 1 {
			t.Errorf("connection %+v", link)
		}
	})
}

// TestTouchF16: a handler that touches its message may run as long as it wants.
func TestTouchF16(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const timeout = 2 * time.Second
		s := testnsqd.Start(t, messageTimeout(timeout))
		book := newLedger()
		c := newConsumer(t, func(ctx context.Context, body string) error {
			book.begin(ctx, body)
			for end := time.Now().Add(5 * timeout / 2); time.Now().Before(end); time.Sleep(timeout / 12) {
				if err := handler.FromContext(ctx).Touch(); err != nil {
					t.Errorf("TOUCH: %v", err)
				}
				if ctx.Err() != nil {
					t.Errorf("context says %v", ctx.Err())
				}
			}
			return nil
		}, nsqx.WithNSQD(s.Addr()))
		publish(t, s, topic, []byte("m"))
		r := start(t, c)
		finished(t, s, c, 1)
		r.mustStop()
		if st := s.Channel(topic, channel); st.TimedOut > 0 || len(book.of("m")) != 1 {
			t.Errorf("%d deliveries, nsqd says %+v", len(book.of("m")), st)
		}
	})
}

// TestCrashGuardF19: a message with as many attempts as the crash guard allows is given up without
// running the handler.
func TestCrashGuardF19(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	s.EnsureChannel("dead", channel)
	tenAttempts := make(chan struct{})
	var once sync.Once
	publish(t, s, topic, []byte("deadly"))
	r := start(t, newConsumer(t, func(ctx context.Context, _ string) error {
		if handler.FromContext(ctx).Attempts >= 10 {
			once.Do(func() { close(tenAttempts) })
		}
		return retry.After(0, nil)
	}, nsqx.WithNSQD(s.Addr())))
	receive(t, tenAttempts, "ten attempts")
	r.mustStop()

	w := new(watch)
	c := newConsumer(t, func(ctx context.Context, _ string) error {
		t.Errorf("handler called at attempt %d", handler.FromContext(ctx).Attempts)
		return nil
	}, nsqx.WithNSQD(s.Addr()), nsqx.WithMaxAttempts(1), nsqx.WithCrashGuard(11), nsqx.WithDeadLetter("dead"), nsqx.WithHooks(w.hooks()))
	r = start(t, c)
	finished(t, s, c, 1)
	r.mustStop()
	if got := collect(t, s, "dead", channel, 1); got[0] != "deadly" {
		t.Errorf("dead letters %q", got)
	}
	if o := w.settled(); len(o) != 1 || o[0].attempts < 11 || o[0].outcome.Disposition != handler.DeadLetter {
		t.Errorf("outcomes %+v", o)
	}
}
