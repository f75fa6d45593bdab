package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/middleware"
)

// touchTimeout is a message timeout. Half of it is enough for a TOUCH on a busy machine.
const touchTimeout = 2 * time.Second

// TestAutoTouchF16: a handler that runs longer than two message timeouts gets one delivery.
// TestLateSuccessF16, TestVeryLateSuccessF16 and TestExpiredF16 show the same without AutoTouch.
func TestAutoTouchF16(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t, messageTimeout(touchTimeout))
		p := testnsqd.StartProxy(t, s.Addr())
		book, touches := newLedger(), commands(p, "TOUCH ")
		c := newConsumer(t, func(ctx context.Context, body string) error {
			book.begin(ctx, body)
			select {
			case <-time.After(9 * touchTimeout / 4):
				book.succeed(body)
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}, nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(4), nsqx.WithMiddleware(middleware.AutoTouch()))
		bodies := numbered("long", 4)
		publish(t, s, topic, bodies...)
		r := start(t, c)
		finished(t, s, c, len(bodies))
		r.mustStop()

		book.complete(t, bodies)
		if st := s.Channel(topic, channel); st.TimedOut > 0 || st.Requeued > 0 || book.extra() > 0 {
			t.Errorf("%d deliveries too many, nsqd says %+v", book.extra(), st)
		}
		// One TOUCH at each half of the timeout. A slow machine may miss the last one.
		if got := touches.Load(); got < 3*4 || got > 4*4 {
			t.Errorf("%d TOUCHes of 4 messages", got)
		}
		if stats := c.Stats(); stats.Connections[0].Refused > 0 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// TestAutoTouchCappedF16: no TOUCH extends a message beyond nsqd's max-msg-timeout. The handler's
// context ends before that, early enough to answer.
func TestAutoTouchCappedF16(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const most = 7 * touchTimeout / 4
		s := testnsqd.Start(t, messageTimeout(touchTimeout), func(o *nsqd.Options) { o.MaxMsgTimeout = most })
		p := testnsqd.StartProxy(t, s.Addr())
		book, w, touches := newLedger(), new(watch), commands(p, "TOUCH ")
		c := newConsumer(t, func(ctx context.Context, body string) error {
			book.begin(ctx, body)
			if handler.FromContext(ctx).Attempts > 1 {
				return nil
			}
			began := time.Now()
			<-ctx.Done()
			if took := time.Since(began); took < touchTimeout || context.Cause(ctx) != handler.ErrMessageTimeout {
				t.Errorf("context ended after %v: %v", took, context.Cause(ctx))
			}
			return context.Cause(ctx)
		}, nsqx.WithNSQD(p.Addr()), nsqx.WithHooks(w.hooks()), at(policyDelay), nsqx.WithMiddleware(middleware.AutoTouch()))
		publish(t, s, topic, []byte("m"))
		r := start(t, c)
		finished(t, s, c, 1)
		r.mustStop()

		want := []handler.Outcome{{Disposition: handler.Requeue, Delay: policyDelay}, {Disposition: handler.Finish}}
		checkOutcomes(t, w, book.of("m"), want)
		checkCounts(t, s, c.Stats(), want)
		if got := touches.Load(); got != 2 {
			t.Errorf("%d TOUCHes, want 2", got)
		}
	})
}

// TestTouchRefusedF16: (M23) nsqd refuses a TOUCH because it no longer knows the message. The
// handler's context ends and its failure is not sent. The connection and the other handlers
// continue.
func TestTouchRefusedF16(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t, messageTimeout(touchTimeout))
		p := testnsqd.StartProxy(t, s.Addr())
		w, reqs := new(watch), commands(p, "REQ ")
		running := make(chan struct{}, 2)
		c := newConsumer(t, func(ctx context.Context, body string) error {
			if body == "late" {
				return nil
			}
			running <- struct{}{}
			<-ctx.Done()
			if m := handler.FromContext(ctx); context.Cause(ctx) != handler.ErrMessageTimeout || (*handler.Delivery)(m).Answerable() { // before its deadline
				t.Errorf("context ended %v after delivery: %v; answerable: %v", time.Since(m.Received()), context.Cause(ctx), (*handler.Delivery)(m).Answerable())
			}
			return errFailed
		}, nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(2), nsqx.WithHooks(w.hooks()), nsqx.WithMiddleware(middleware.AutoTouch()))
		publish(t, s, topic, []byte("a"), []byte("b"))
		r := start(t, c)
		for range 2 {
			receive(t, running, "two handlers")
		}
		if err := s.NSQD().GetTopic(topic).GetChannel(channel).Empty(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return len(w.settled()) == 2 }, "both handlers to end")
		publish(t, s, topic, []byte("late"))
		eventually(t, func() bool { return c.Stats().Finished == 1 }, "the connection to continue")
		r.mustStop()

		for _, o := range w.settled()[:2] {
			if o.outcome.Disposition != handler.Expired {
				t.Errorf("outcome %+v", o.outcome)
			}
		}
		for _, ev := range w.events(&w.refused) {
			if e, ok := errors.AsType[*conn.ServerError](ev.Err); !ok || e.Code != "E_TOUCH_FAILED" {
				t.Errorf("refused: %v", ev.Err)
			}
		}
		link := c.Stats().Connections[0]
		if link.Refused != 2 || link.Dials != 1 || reqs.Load() > 0 {
			t.Errorf("%d REQs, connection %+v", reqs.Load(), link)
		}
	})
}
