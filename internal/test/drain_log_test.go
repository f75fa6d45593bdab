package test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestDrainSaysWhy: the begin of a drain has the reason, and its end what became of the messages.
func TestDrainSaysWhy(t *testing.T) {
	signal := errors.New("terminated signal received")
	for name, tt := range map[string]struct {
		run  func(t *testing.T, c *nsqx.Consumer[int]) (stop func())
		want string
	}{
		"Stop": {func(t *testing.T, c *nsqx.Consumer[int]) func() {
			want(t, "Start", c.Start(t.Context()), nil)
			return func() { want(t, "Stop", c.Stop(t.Context()), nil) }
		}, "nsqx: Stop was called"},
		"ctx": {func(t *testing.T, c *nsqx.Consumer[int]) func() {
			return runWithCause(t, c.Run, signal)
		}, signal.Error()},
		"Run": {func(t *testing.T, c *nsqx.Consumer[int]) func() {
			return runWithCause(t, func(ctx context.Context) error { return nsqx.Run(ctx, c) }, signal)
		}, signal.Error()},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newScene(t, 1, 0)
			c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[int](), func(ctx context.Context, n int) error {
				if n > 2 {
					<-ctx.Done()
					return ctx.Err()
				}
				time.Sleep(5 * time.Second)
				return nil
			}, nsqxtest.Option(s.servers...), nsqx.WithLogger(s.logger()), nsqx.WithConcurrency(10))
			want(t, "NewConsumer", err, nil)
			stop := tt.run(t, c)
			time.Sleep(time.Second)
			for n := range 6 {
				s.publish(0, n)
			}
			time.Sleep(time.Second)
			stop()
			synctest.Wait()
			lines := strings.Join(s.lines.all(), "\n")
			for _, part := range []string{`running handlers may finish" topic=orders channel=billing reason="` + tt.want + `" running=6`, " finished=3 requeued=3"} {
				want(t, part, strings.Contains(lines, part), true)
			}
		})
	}
}

// runWithCause runs a service until stop is called, which ends its ctx with a cause.
func runWithCause(t *testing.T, run func(context.Context) error, cause error) (stop func()) {
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	return func() {
		cancel(cause)
		want(t, "Run", <-ended, nil)
	}
}
