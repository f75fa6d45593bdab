package test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
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

// TestLimitRaised: an nsqd that was away may be back with a higher --max-req-timeout. Delays are not cut
// any more, neither of REQ to an old one nor of DPUB; after a lost connection alone they are.
func TestLimitRaised(t *testing.T) {
	restart := func(s *nsqxtest.Server, raise func()) {
		s.Disconnect()
		time.Sleep(5 * time.Minute)
		raise()
		s.Stop()
		time.Sleep(time.Minute)
		s.Start("")
		time.Sleep(5 * time.Minute)
	}
	// limited refuses a command as an nsqd with a limit of one minute does, until raised.
	limited := func(t *testing.T, name, unit string) (s *nsqxtest.Server, raised *atomic.Bool, refused *atomic.Int32) {
		s, raised, refused = nsqxtest.NewServer(t, nsqxtest.WithPatience(oneDay)), new(atomic.Bool), new(atomic.Int32)
		s.On(name, func(_ *nsqxtest.ServerConn, c nsqxtest.Command) nsqxtest.Action {
			if ms, _ := strconv.Atoi(c.Param(1)); !raised.Load() && ms > 60000 {
				refused.Add(1)
				return nsqxtest.Fail("E_INVALID " + name + " timeout " + c.Param(1) + " out of range 0-60000" + unit)
			}
			return nsqxtest.Proceed()
		})
		return s, raised, refused
	}
	bubble(t, "REQ", func(t *testing.T) {
		s, raised, refused := limited(t, "REQ", "000000")
		_, _ = consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error { return errBill },
			nsqx.WithoutBackoff(), nsqx.WithRetry(retry.PolicyFunc(func(int, error) time.Duration { return 30 * time.Minute })))
		publish(s, 1)
		time.Sleep(5 * time.Minute)
		restart(s, func() {
			want(t, "refused", refused.Load(), 1)
			raised.Store(true)
		})
		all := s.Requeues("orders", "billing")
		want(t, "first delay", all[0].Delay, time.Minute)
		want(t, "last delay", all[len(all)-1].Delay, 30*time.Minute)
	})
	bubble(t, "DPUB", func(t *testing.T) {
		s, raised, refused := limited(t, "DPUB", "")
		p := newProducer(t, s.Option(), nsqx.WithLogger(discard), nsqx.WithEnvelope())
		wantKind(t, p.PublishAfter(t.Context(), 30*time.Minute, "x"), nil)
		restart(s, func() {
			wantKind(t, p.PublishAfter(t.Context(), 30*time.Minute, "x"), nil)
			want(t, "refused", refused.Load(), 1)
			raised.Store(true)
		})
		wantKind(t, p.PublishAfter(t.Context(), 30*time.Minute, "x"), nil)
		all := s.Published("orders")
		want(t, "first delay is cut", all[0].Delay <= time.Minute, true)
		want(t, "last delay", all[len(all)-1].Delay, 30*time.Minute)
	})
}
