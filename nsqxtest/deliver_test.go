package nsqxtest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

func TestDeliver(t *testing.T) {
	type key struct{}
	answer := func(err error) handler.Func[string] { return func(context.Context, string) error { return err } }
	shutdown, cancel := context.WithCancelCause(context.Background())
	cancel(handler.ErrShutdown)
	for _, tt := range []struct {
		name        string
		fn          handler.Func[string]
		opts        []nsqx.ConsumerOption
		message     []nsqxtest.MessageOption
		disposition handler.Disposition
		delay       time.Duration
	}{
		{"success", answer(nil), nil, nil, handler.Finish, 0},
		{"later", answer(retry.After(time.Minute, errCredit)), nil, nil, handler.Requeue, time.Minute},
		{"retry policy", answer(errCredit), []nsqx.ConsumerOption{nsqx.WithRetry(retry.Linear(time.Second, time.Minute))},
			[]nsqxtest.MessageOption{nsqxtest.WithAttempts(3)}, handler.Requeue, 3 * time.Second},
		{"attempts", answer(errCredit), []nsqx.ConsumerOption{nsqx.WithMaxAttempts(3), nsqx.WithDiscard()},
			[]nsqxtest.MessageOption{nsqxtest.WithAttempts(3)}, handler.Drop, 0},
		{"age", answer(errCredit), []nsqx.ConsumerOption{nsqx.WithMaxAge(time.Hour), nsqx.WithDiscard()},
			[]nsqxtest.MessageOption{nsqxtest.WithTimestamp(time.Now().Add(-2 * time.Hour))}, handler.Drop, 0},
		{"shutdown", answer(errCredit), nil, []nsqxtest.MessageOption{nsqxtest.WithContext(shutdown)}, handler.Interrupted, 0},
		{"values", func(ctx context.Context, _ string) error {
			if ctx.Value(key{}) != "v" {
				return errCredit
			}
			return nil
		}, nil, []nsqxtest.MessageOption{nil, nsqxtest.WithContext(context.WithValue(context.Background(), key{}, "v"))}, handler.Finish, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := consumer(t, tt.fn, append(tt.opts, nsqx.WithNSQD("nsqd.prod:4150"))...)
			out := nsqxtest.Deliver(t, c, []byte("x"), tt.message...)
			check.Want(t, "disposition", out.Disposition, tt.disposition)
			check.Want(t, "delay", out.Delay, tt.delay)
		})
	}
}

// The dead letter of a consumer that does not run goes to the server, too.
func TestDeliverDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := consumer(t, func(context.Context, string) error { return retry.Permanent(errCredit) }, nsqx.WithDeadLetter("orders.dead"), s.Option())
		out := nsqxtest.Deliver(t, c, []byte("x"))
		check.Want(t, "disposition", out.Disposition, handler.DeadLetter)
		wantList(t, "dead letters", nsqxtest.Received(t, s, "orders.dead", codec.String(), 1), "x")
	})
}

func TestHandle(t *testing.T) {
	check.Bubble(t, "error", func(t *testing.T) {
		err := nsqxtest.Handle(t, func(ctx context.Context, n int) error {
			m := handler.FromContext(ctx)
			check.Want(t, "value", n, 7)
			check.Want(t, "attempts", m.Attempts, 4)
			check.Want(t, "origin", m.Topic()+"/"+m.Channel(), "orders/billing")
			return errCredit
		}, 7, nsqxtest.WithAttempts(4), nsqxtest.WithTopic("orders", "billing"))
		check.Want(t, "error", err, errCredit)
	})
	check.Bubble(t, "timeout", func(t *testing.T) {
		var seen context.Context
		err := nsqxtest.Handle(t, func(ctx context.Context, _ int) error {
			seen = ctx
			<-ctx.Done()
			return context.Cause(ctx)
		}, 0)
		check.Want(t, "cause", err, handler.ErrMessageTimeout)
		check.Want(t, "ended", seen.Err() != nil, true)
	})
}
