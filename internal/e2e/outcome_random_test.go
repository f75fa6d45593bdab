package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/retry"
)

// TestLedger: 20 000 messages from two nsqds, and handlers that succeed, fail, ask for a delay,
// panic and exit at random. Every message is handled once and has no more deliveries than that
// takes.
func TestLedger(t *testing.T) {
	t.Parallel()
	const concurrency = 16
	n := 20_000 * max(1, int(testnsqd.Stress(t)/(5*time.Second)))
	var servers []*testnsqd.Server
	var addrs []string
	var bodies [][]byte
	for i := range 2 {
		s := testnsqd.Start(t)
		fresh := numbered(fmt.Sprint("nsqd", i), n/2)
		publish(t, s, topic, fresh...)
		servers, addrs, bodies = append(servers, s), append(addrs, s.Addr()), append(bodies, fresh...)
	}
	book := newLedger()
	var running, most atomic.Int64
	c := newConsumer(t, func(ctx context.Context, body string) error {
		for now := running.Add(1); ; {
			if top := most.Load(); now <= top || most.CompareAndSwap(top, now) {
				break
			}
		}
		defer running.Add(-1)
		book.begin(ctx, body)
		switch rand.IntN(100) {
		case 0, 1, 2, 3, 4, 5:
			return errFailed
		case 6, 7:
			return retry.After(time.Duration(rand.IntN(20))*time.Millisecond, nil)
		case 8, 9:
			panic("at random")
		case 10:
			runtime.Goexit()
		case 11:
			runtime.Gosched()
		}
		book.succeed(body)
		return nil
	}, nsqx.WithNSQD(addrs...), nsqx.WithConcurrency(concurrency), nsqx.WithMaxInFlight(200),
		nsqx.WithRetry(retry.Exponential(time.Millisecond, 20*time.Millisecond)), nsqx.WithMaxRequeueDelay(20*time.Millisecond))
	r := start(t, c)
	book.wait(t, n)
	for _, s := range servers {
		eventually(t, func() bool { return s.Channel(topic, channel).Unfinished() == 0 }, "all messages to be finished")
	}
	r.mustStop()

	book.complete(t, bodies)
	var requeued, timedOut uint64
	for _, s := range servers {
		st := s.Channel(topic, channel)
		requeued, timedOut = requeued+st.Requeued, timedOut+st.TimedOut
	}
	stats := c.Stats()
	if stats.Finished != uint64(n) || stats.Requeued != requeued || timedOut > 0 || uint64(book.extra()) != requeued {
		t.Errorf("%d extra deliveries, %d requeued and %d timed out says nsqd, stats %+v", book.extra(), requeued, timedOut, stats)
	}
	for _, b := range bodies {
		for i, d := range book.of(string(b)) {
			if int(d.attempts) != i+1 {
				t.Fatalf("delivery %d of %s has attempts %d", i+1, b, d.attempts)
			}
		}
	}
	book.mu.Lock()
	defer book.mu.Unlock()
	for body, times := range book.successes {
		if times != 1 {
			t.Errorf("%s was handled %d times", body, times)
		}
	}
	if most.Load() > concurrency {
		t.Errorf("%d handlers at once, want %d at most", most.Load(), concurrency)
	}
}
