package test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// TestOldRequeue: nsqd up to 1.0.0 ends the connection for a REQ above its max-req-timeout. That happens
// once an address: later delays are cut, also on later connections, and the log says so. Another nsqd is
// not affected.
func TestOldRequeue(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		old := nsqxtest.NewServer(t, nsqxtest.WithAddr(nsqd1), nsqxtest.WithMaxRequeueTimeout(time.Minute), nsqxtest.WithOldRequeue())
		other := nsqxtest.NewServer(t, nsqxtest.WithAddr(nsqd2))
		var lost atomic.Int32
		log := &logbook{onRecord: func(r slog.Record) {
			r.Attrs(func(a slog.Attr) bool {
				if err, ok := a.Value.Any().(error); ok && errors.As(err, new(*conn.RequeueDelayError)) {
					lost.Add(1)
				}
				return true
			})
		}}
		c := newLoggedConsumer(t, log, func(context.Context, string) error { return errBill }, nsqxtest.Option(old, other),
			nsqx.WithoutBackoff(), nsqx.WithRetry(retry.PolicyFunc(func(int, error) time.Duration { return 30 * time.Minute })))
		nsqxtest.Run(t, c)
		time.Sleep(time.Second)
		publish(old, 1)
		publish(other, 1)
		time.Sleep(5 * time.Minute)
		want(t, "dials", old.Dials(), 2)
		old.Disconnect()
		time.Sleep(5 * time.Minute)
		want(t, "dials", old.Dials(), 3)
		requeues := old.Requeues("orders", "billing")
		if len(requeues) < 7 {
			t.Errorf("%d requeues", len(requeues))
		}
		for _, r := range requeues {
			want(t, "delay", r.Delay, time.Minute)
		}
		want(t, "delay of another nsqd", other.Requeues("orders", "billing")[0].Delay, 30*time.Minute)
		want(t, "dials of another nsqd", other.Dials(), 1)
		want(t, "records", lost.Load(), 1)
	})
}
