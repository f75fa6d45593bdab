package gonsq

import (
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// TestFunc: a handler of go-nsq in a consumer of nsqx.
func TestFunc(t *testing.T) {
	for name, tt := range map[string]struct {
		handle HandlerFunc
		want   handler.Disposition
		delay  time.Duration
	}{
		"success":                 {func(*Message) error { return nil }, handler.Finish, 0},
		"error":                   {func(*Message) error { return errNo }, handler.Requeue, 3 * time.Second},
		"error of nsqx":           {func(*Message) error { return retry.Drop(errNo) }, handler.Drop, 0},
		"Finish":                  {func(m *Message) error { m.Finish(); return errNo }, handler.Finish, 0},
		"Requeue":                 {func(m *Message) error { m.Requeue(5 * time.Second); return nil }, handler.Requeue, 5 * time.Second},
		"Requeue(-1)":             {func(m *Message) error { m.Requeue(-1); return nil }, handler.Requeue, 3 * time.Second},
		"RequeueWithoutBackoff":   {func(m *Message) error { m.RequeueWithoutBackoff(0); return nil }, handler.Requeue, 0},
		"RequeueWithoutBackoff-1": {func(m *Message) error { m.RequeueWithoutBackoff(-1); return nil }, handler.Requeue, 90 * time.Second},
		"later": {func(m *Message) error {
			m.DisableAutoResponse()
			time.AfterFunc(time.Second, m.Finish)
			return nil
		}, handler.Finish, 0},
		"panic":  {func(*Message) error { panic("no") }, handler.Requeue, 3 * time.Second},
		"Goexit": {func(*Message) error { goexit(); return nil }, handler.Requeue, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c, err := nsqx.NewConsumer("orders", "billing", codec.Bytes(), Func(tt.handle), nsqx.WithNSQD("a:1"),
					nsqx.WithRetry(retry.Schedule(3*time.Second)), nsqx.WithoutFailureLog())
				if err != nil {
					t.Fatal(err)
				}
				out := nsqxtest.Deliver(t, c, []byte("a"))
				want(t, "disposition", out.Disposition, tt.want)
				want(t, "delay", out.Delay, tt.delay)
			})
		})
	}
}

func TestFuncOfNothing(t *testing.T) {
	_, err := nsqx.NewConsumer("orders", "billing", codec.Bytes(), Func(nil), nsqx.WithNSQD("a:1"))
	isErr(t, "nil handler", err, "handler")
}
