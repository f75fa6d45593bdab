package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestShutdownRollingS14 replaces three consumers one after another, under load. Each message is
// handled once (I1). A message that one consumer requeues reaches another long before its timeout.
func TestShutdownRollingS14(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const (
			timeout = 5 * time.Second // of messages
			work    = 10 * time.Millisecond
		)
		s := testnsqd.Start(t, messageTimeout(timeout), func(o *nsqd.Options) { o.MemQueueSize = 10000 })
		s.EnsureChannel(topic, channel)
		p := newProducer(t, topic, nsqx.WithNSQD(s.Addr()))
		book := newLedger()
		var interrupted, connections uint64
		deploy := func() (*running, *nsqx.Consumer[string]) {
			c := newConsumer(t, func(ctx context.Context, body string) error {
				book.begin(ctx, body)
				select {
				case <-time.After(work):
					book.succeed(body)
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(8), nsqx.WithShutdownTimeout(work/2))
			return start(t, c), c
		}
		type replica struct {
			*running
			c *nsqx.Consumer[string]
		}
		var replicas []replica
		for range 3 {
			r, c := deploy()
			replicas = append(replicas, replica{r, c})
		}

		published := make(chan int)
		stop := make(chan struct{})
		go func() {
			n := 0
			for ; ; n++ {
				select {
				case <-stop:
					published <- n
					return
				default:
				}
				if err := p.Publish(context.Background(), fmt.Sprint(n)); err != nil {
					t.Errorf("publish: %v", err)
				}
				time.Sleep(time.Millisecond / 2)
			}
		}()
		for until := time.Now().Add(testnsqd.Stress(t)); time.Now().Before(until); {
			r, c := deploy()
			receive(t, c.Ready(), "the new one to be ready")
			old := replicas[0]
			replicas = append(replicas[1:], replica{r, c})
			old.mustStop()
			interrupted += old.c.Stats().Interrupted
			connections++
		}
		close(stop)
		n := <-published
		book.wait(t, n)
		for _, r := range replicas {
			r.mustStop()
			interrupted += r.c.Stats().Interrupted
		}
		if book.handled() != n || book.extra() > int(interrupted) {
			t.Errorf("%d of %d messages were handled, with %d further deliveries for %d interrupted", book.handled(), n, book.extra(), interrupted)
		}
		for i := range n {
			d := book.of(fmt.Sprint(i))
			for j := 1; j < len(d); j++ {
				if gap := d[j].at.Sub(d[j-1].at); gap > timeout/2 {
					t.Errorf("message %d came again after %v", i, gap)
				}
			}
			if book.successes[fmt.Sprint(i)] != 1 {
				t.Errorf("message %d was handled %d times", i, book.successes[fmt.Sprint(i)])
			}
		}
		t.Logf("%d messages, %d replacements, %d interrupted", n, connections, interrupted)
	})
}
