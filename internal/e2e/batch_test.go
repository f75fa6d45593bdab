package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestBatchesCutAndRestarted: three nsqds are cut off and restarted while batches of 100 are handled, and a
// tenth of the items fail by themselves. Nothing is lost, each item has its own outcome, and no more
// comes again than was in flight or failed. NSQX_STRESS makes it 100 000 messages.
func TestBatchesCutAndRestarted(t *testing.T) {
	t.Parallel()
	messages := 15_000
	if os.Getenv("NSQX_STRESS") != "" {
		messages = 100_000
	}
	random := seeded(t)
	steady(t, func(t testing.TB) { batchesCutAndRestarted(t, random, messages) })
}

func batchesCutAndRestarted(t testing.TB, random *rand.Rand, messages int) {
	const nsqds, size, maxInFlight, faults = 3, 100, 300, 6
	var servers []*testnsqd.Server
	var proxies []*testnsqd.Proxy
	var addrs []string
	var bodies [][]byte
	for i := range nsqds {
		s := testnsqd.Start(t, messageTimeout(2*time.Second))
		p := testnsqd.StartProxy(t, s.Addr())
		servers, proxies, addrs = append(servers, s), append(proxies, p), append(addrs, p.Addr())
		fresh := numbered(fmt.Sprint("nsqd", i), messages/nsqds)
		publish(t, s, topic, fresh...)
		bodies = append(bodies, fresh...)
	}
	book, w := newLedger(), new(watch)
	items, failed := 0, 0 // one batch at a time
	c, err := nsqx.NewBatchConsumer(topic, channel, codec.String(), func(_ context.Context, b *handler.Batch[string]) error {
		for i, item := range b.All() {
			items++
			book.begin(handler.NewContext(context.Background(), item.Message), item.Value)
			if random.IntN(10) == 0 {
				failed++
				b.Fail(i, errFailed)
				continue
			}
			book.succeed(item.Value)
		}
		time.Sleep(time.Millisecond)
		return nil
	}, nsqx.WithNSQD(addrs...), nsqx.WithBatch(size, 20*time.Millisecond), nsqx.WithMaxInFlight(maxInFlight),
		nsqx.WithHooks(w.hooks()), at(5*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, c)
	w.connected(t, nsqds)
	for i := range faults {
		book.wait(t, (i+1)*len(bodies)/(faults+2))
		if n := i % nsqds; i%2 == 0 {
			proxies[n].Cut()
		} else {
			servers[n].QuiescedRestart(proxies[n])
		}
	}
	book.wait(t, len(bodies))
	eventually(t, func() bool {
		for _, s := range servers {
			if s.Channel(topic, channel).Unfinished() > 0 {
				return false
			}
		}
		return true
	}, "all messages to be finished")
	r.mustStop()

	book.complete(t, bodies)
	stats := c.Stats()
	if extra, most := book.extra(), failed+faults*maxInFlight; extra > most {
		t.Errorf("%d messages came again, want %d at most", extra, most)
	}
	if n := stats.Finished + stats.Requeued + stats.Lost + stats.Expired - stats.GivenBack; int(n) < items {
		t.Errorf("%d items were handled, stats %+v", items, stats)
	}
	t.Logf("%d items in %d messages, %d failed, %d came again, %d lost with their connections, %d given back", items, len(bodies), failed, book.extra(), stats.Lost, stats.GivenBack)
}

// TestBatchQuiet: on a quiet topic a message waits for its batch, not for nsqd's buffer: half of the
// messages are with the handler 100 ms after they were published, at a wait of 50 ms: it is 51 ms on a quiet
// machine, and nsqd's buffer would add 125 ms.
func TestBatchQuiet(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const messages = 40
		s := testnsqd.Start(t)
		waited := make(chan time.Duration, messages)
		c, err := nsqx.NewBatchConsumer(topic, channel, codec.String(), func(_ context.Context, b *handler.Batch[string]) error {
			for _, item := range b.All() {
				waited <- time.Since(item.Message.Timestamp())
			}
			return nil
		}, nsqx.WithNSQD(s.Addr()), nsqx.WithBatch(500, 50*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		r := start(t, c)
		<-c.Ready()
		var all []time.Duration
		for i := range messages {
			publish(t, s, topic, fmt.Append(nil, i))
			all = append(all, <-waited)
		}
		r.mustStop()
		slices.Sort(all)
		if p50 := all[messages/2]; p50 > 100*time.Millisecond {
			t.Errorf("p50 from publish to handler is %v, want 100 ms at most; %v at most", p50, all[messages-1])
		}
	})
}
