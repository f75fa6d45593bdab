package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

// TestDoubledMessageG5: nsqd has a message twice in its queue on disk, under one id. When both are in flight, the
// second FIN is refused and counts nothing down, so that nsqd's in_flight_count for the connection stays too high by
// one. What is published later comes all the same.
func TestDoubledMessageG5(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t, func(o *nsqd.Options) { o.MemQueueSize = 0 })
		publish(t, s, topic, []byte("doubled"))
		eventually(t, func() bool { return s.Channel(topic, channel).Depth == 1 }, "the message to be in the channel")
		s.Stop()
		s.DoubleQueue(topic, channel)
		s.Restart()

		book, w := newLedger(), new(watch)
		var drifts atomic.Int64
		hooks := w.hooks()
		hooks.OnDrift = func(observe.DriftEvent) { drifts.Add(1) }
		c := newConsumer(t, func(ctx context.Context, body string) error {
			book.begin(ctx, body)
			if body == "doubled" {
				time.Sleep(100 * time.Millisecond) // both are in flight
			}
			book.succeed(body)
			return nil
		}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(4), nsqx.WithHooks(hooks))
		r := start(t, c)
		eventually(t, func() bool { return len(w.events(&w.refused)) > 0 }, "nsqd to refuse a FIN")
		if d := book.of("doubled"); len(d) != 2 {
			t.Fatalf("deliveries %v", d)
		}
		began := time.Now()
		for i := range 20 {
			body := fmt.Appendf(nil, "later-%d", i)
			s.Publish(topic, body)
			eventually(t, func() bool { return book.has(string(body)) }, "message %d after the doubled one", i)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("20 messages took %v", took)
		}
		eventually(t, func() bool { return c.Stats().Connections[0].Renewed == 1 }, "a new connection")
		eventually(t, func() bool { return drifts.Load() == 2 }, "the hook")
		body := []byte("last")
		s.Publish(topic, body)
		eventually(t, func() bool { return book.has(string(body)) }, "a message on the new connection")
		if st := c.Stats().Connections[0]; st.Allowance != 0 || st.Drifted != 1 || c.Healthy() != nil {
			t.Errorf("%+v, %v", st, c.Healthy())
		}
		eventually(t, func() bool { return s.Clients() == 1 }, "the old connection to end")
		r.mustStop()
	})
}

// killed is how many messages TestKilledUnderLoadG5 queues: more with NSQX_STRESS.
func killed() int {
	if _, ok := os.LookupEnv("NSQX_STRESS"); ok {
		return 70_000
	}
	return 20_000
}

// TestKilledUnderLoadG5: nsqd is killed three times under load. Then its queue on disk has messages twice. All is
// drained, and Healthy is true to fact throughout.
func TestKilledUnderLoadG5(t *testing.T) {
	t.Parallel()
	for began, round := time.Now(), 0; round == 0 || time.Since(began) < testnsqd.Stress(t); round++ {
		killUnderLoad(t, killed())
	}
}

func killUnderLoad(t *testing.T, n int) {
	const kills = 3
	s := testnsqd.StartChildSyncing(t, 5*time.Second, 2500)
	s.EnsureChannel(topic, channel)
	for first := 0; first < n; first += 1000 {
		s.Publish(topic, numbered(fmt.Sprint("m", first), 1000)...)
	}
	eventually(t, func() bool { return s.Channel(topic, channel).Depth >= int64(n) }, "all messages to be in the channel")

	var mu sync.Mutex
	seen := make(map[string]bool)
	handled := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)
	}
	drained := func(last [][]byte) bool {
		mu.Lock()
		defer mu.Unlock()
		return !slices.ContainsFunc(last, func(b []byte) bool { return !seen[string(b)] })
	}
	var runs atomic.Int64
	c := newConsumer(t, func(_ context.Context, body string) error {
		runs.Add(1)
		time.Sleep(100 * time.Microsecond)
		if rand.IntN(4) == 0 {
			return retry.After(0, errFailed) // goes to the end of the queue on disk
		}
		mu.Lock()
		seen[body] = true
		mu.Unlock()
		return nil
	}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(64), nsqx.WithoutBackoff())
	r := start(t, c)
	for kill := range kills {
		want := (kill + 1) * n / (2 * kills)
		testnsqd.Eventually(t, 3*waitTimeout, func() bool { return handled() >= want }, "%d messages", want) // also with -race beside other tests
		s.Kill()
		eventually(t, func() bool { return c.Healthy() != nil }, "it to be unhealthy")
		s.Restart()
		eventually(t, func() bool { return c.Healthy() == nil }, "it to be healthy again")
	}
	// nsqd's depth is wrong after a kill, too. But its queue on disk has an order: the last come last.
	last := numbered("last", 20)
	s.Publish(topic, last...)
	began, most := time.Now(), 0
	for !drained(last) {
		if time.Since(began) > 3*waitTimeout {
			t.Fatalf("%d handled of %d, nsqd says %+v, %+v", handled(), n, s.Channel(topic, channel), c.Stats())
		}
		if err := c.Healthy(); err != nil {
			t.Errorf("unhealthy with a connection: %v", err)
		}
		most = max(most, c.Stats().Connections[0].Allowance)
		time.Sleep(20 * time.Millisecond)
	}
	st := c.Stats().Connections[0]
	r.mustStop()
	if lost := n + len(last) - handled(); lost > kills*2500 { // nsqd loses what is in flight
		t.Errorf("%d messages were never handled", lost)
	}
	t.Logf("%d handled of %d in %d runs; %d too many at most, %d times one, renewed %d times", handled(), n, runs.Load(), most, st.Drifted, st.Renewed)
}
