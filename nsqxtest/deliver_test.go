package nsqxtest_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
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
		{"by the policy", answer(errCredit), []nsqx.ConsumerOption{nsqx.WithRetry(retry.Linear(time.Second, time.Minute))},
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
			want(t, "disposition", out.Disposition, tt.disposition)
			want(t, "delay", out.Delay, tt.delay)
		})
	}
}

// A dead letter of a consumer that does not run goes to the server all the same.
func TestDeliverDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c := consumer(t, func(context.Context, string) error { return retry.Permanent(errCredit) }, nsqx.WithDeadLetter("orders.dead"), s.Option())
		out := nsqxtest.Deliver(t, c, []byte("x"))
		want(t, "disposition", out.Disposition, handler.DeadLetter)
		wantList(t, "dead letters", nsqxtest.Received(t, s, "orders.dead", codec.String(), 1), "x")
	})
}

func TestHandle(t *testing.T) {
	bubble(t, "answer", func(t *testing.T) {
		err := nsqxtest.Handle(t, func(ctx context.Context, n int) error {
			m := handler.FromContext(ctx)
			want(t, "value", n, 7)
			want(t, "attempts", m.Attempts, 4)
			want(t, "origin", m.Topic()+"/"+m.Channel(), "orders/billing")
			return errCredit
		}, 7, nsqxtest.WithAttempts(4), nsqxtest.WithTopic("orders", "billing"))
		want(t, "error", err, errCredit)
	})
	bubble(t, "time", func(t *testing.T) {
		var seen context.Context
		err := nsqxtest.Handle(t, func(ctx context.Context, _ int) error {
			seen = ctx
			<-ctx.Done()
			return context.Cause(ctx)
		}, 0)
		want(t, "cause", err, handler.ErrMessageTimeout)
		want(t, "ended", seen.Err() != nil, true)
	})
}

func TestMessage(t *testing.T) {
	id, _ := handler.ParseID("00000000000000ff")
	accepted := time.Unix(1_700_000_000, 0)
	body := []byte("x")
	m := nsqxtest.Message(body, nsqxtest.WithID(id), nsqxtest.WithTimestamp(accepted))
	body[0] = 'y'
	want(t, "body", string(m.Body), "x")
	want(t, "id", m.ID, id)
	want(t, "attempts", m.Attempts, 1)
	want(t, "timestamp", m.Timestamp(), accepted)
	want(t, "touches before", nsqxtest.Touches(m), 0)
	want(t, "Touch", m.Touch(), nil)
	want(t, "Touch", m.Touch(), nil)
	want(t, "touches", nsqxtest.Touches(m), 2)
	want(t, "touches of another", nsqxtest.Touches(new(handler.Message)), 0)

	lost := nsqxtest.Message(nil, nsqxtest.WithTouch(func() error { return handler.ErrConnLost }))
	want(t, "default id", lost.ID.String(), "0000000000000001")
	want(t, "failed Touch", lost.Touch(), handler.ErrConnLost)
	want(t, "failed touches", nsqxtest.Touches(lost), 1)
}

// service is one that ends as told.
type service func(ctx context.Context) error

func (s service) Run(ctx context.Context) error { return s(ctx) }

func TestRun(t *testing.T) {
	type key struct{}
	wait := service(func(ctx context.Context) error { <-ctx.Done(); return nil })
	for _, tt := range []struct {
		name     string
		services []nsqx.Service
		report   string
	}{
		{"in order", []nsqx.Service{wait, wait}, ""},
		{"error at the end", []nsqx.Service{wait, service(func(ctx context.Context) error { <-ctx.Done(); return errCredit })}, "Run: no credit"},
		{"error", []nsqx.Service{wait, service(func(context.Context) error { return errCredit })}, "Run: no credit"},
		{"early", []nsqx.Service{service(func(context.Context) error { return nil }), wait}, "stopped by itself"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			tb := new(recorder)
			stop := nsqxtest.Run(tb, tt.services...)
			synctest.Wait()
			stop()
			tb.end() // calls it again
			got := tb.reported()
			if tt.report == "" {
				wantList(t, "reported", got)
			} else if len(got) != 1 || !strings.Contains(got[0], tt.report) {
				t.Errorf("reported %q, want %q", got, tt.report)
			}
		})
	}
	t.Run("values", func(t *testing.T) {
		tb := &withContext{recorder: new(recorder), ctx: context.WithValue(context.Background(), key{}, "v")}
		got := make(chan any, 1)
		nsqxtest.Run(tb, service(func(ctx context.Context) error {
			got <- ctx.Value(key{})
			<-ctx.Done()
			return nil
		}))
		want(t, "value", <-got, any("v"))
		tb.end()
		wantList(t, "reported", tb.reported())
	})
}

type withContext struct {
	*recorder
	ctx context.Context
}

func (w *withContext) Context() context.Context { return w.ctx }
