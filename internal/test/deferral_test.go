package test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// TestDeferralsGiveNothingUp: retry.After(d, nil) gives no message up, however often and however old,
// in an earlier process as well; what this process remembers is no attempt towards MaxAttempts.
func TestDeferralsGiveNothingUp(t *testing.T) {
	again := retry.After(time.Minute, nil)
	for name, tt := range map[string]struct {
		opts    []nsqx.ConsumerOption
		before  uint16 // number of the first delivery, after those of an earlier process; 0: 1
		wait    time.Duration
		answers func(n int) error // of the nth run
		runs    int
		dead    int
	}{
		"for ever":                     {opts: opts(max3, maxAge), answers: func(int) error { return again }, runs: 200},
		"since an earlier process":     {opts: opts(max3, maxAge), before: 500, answers: func(int) error { return again }, runs: 200},
		"with a policy that stops":     {opts: opts(nsqx.WithRetry(retry.Schedule(time.Second, retry.Stop))), answers: func(int) error { return again }, runs: 200},
		"with a crash guard":           {opts: opts(max3, guard15), answers: func(int) error { return again }, runs: 200},
		"mapped":                       {opts: opts(max3, nsqx.WithErrors(func(error) error { return again })), answers: func(int) error { return errBill }, runs: 200},
		"then failures":                {opts: opts(max3), answers: failAfter(100, again), runs: 103, dead: 1},
		"late":                         {opts: opts(max3, nsqx.WithMessageTimeout(10*time.Second)), wait: 9900 * time.Millisecond, answers: failAfter(100, again), runs: 103, dead: 1},
		"then a failure, too old":      {opts: opts(maxAge), answers: failAfter(100, again), runs: 101, dead: 1},
		"before a restart they count":  {opts: opts(max3), before: 100, answers: failAfter(0, again), runs: 1, dead: 1},
		"before a restart, crashguard": {opts: opts(guard15), before: 100, answers: failAfter(0, again), runs: 0, dead: 1},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
			var runs atomic.Int64
			c, _ := consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error {
				n := int(runs.Add(1))
				if n <= 100 {
					time.Sleep(tt.wait)
				}
				return tt.answers(n)
			}, append(tt.opts, dead, nsqx.WithoutBackoff())...)
			s.PublishMessage("orders", []byte("x"), nsqxtest.WithAttempts(max(tt.before, 1)))
			time.Sleep(200*time.Minute - time.Second)
			want(t, "runs", min(int(runs.Load()), tt.runs), tt.runs)
			want(t, "dead letters", int(c.Stats().DeadLettered), tt.dead)
			if tt.dead > 0 {
				want(t, "runs until it was given up", int(runs.Load()), tt.runs)
			}
			want(t, "dropped", c.Stats().Dropped, 0)
		})
	}
}

// failAfter returns answers of which the first n are the given one, and the others failures.
func failAfter(n int, first error) func(int) error {
	return func(run int) error {
		if run <= n {
			return first
		}
		return errBill
	}
}

// TestDeferralsOfManyMessages: as many messages are remembered as the doc of retry.After says.
func TestDeferralsOfManyMessages(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		const n = 2048
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		c, _ := consume(t, []*nsqxtest.Server{s}, func(ctx context.Context, _ string) error {
			if m := handler.FromContext(ctx); m.Attempts < 10 || m.Attempts > 11 {
				return retry.After(time.Minute, nil)
			}
			return errBill
		}, max3, dead, nsqx.WithoutBackoff())
		publish(s, n)
		time.Sleep(time.Hour)
		want(t, "dead letters", c.Stats().DeadLettered, 0)
		want(t, "unfinished", billing(s).Deferred, n)
	})
}
