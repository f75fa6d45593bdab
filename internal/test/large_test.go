package test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// largeConsumer runs a consumer of orders/billing until the end of the test.
func largeConsumer(t *testing.T, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	opts = append(opts, nsqx.WithLogger(slog.New(slog.DiscardHandler)))
	c, err := nsqx.NewConsumer(fleetTopic, fleetChannel, codec.String(), fn, opts...)
	if err != nil {
		t.Fatal(err)
	}
	nsqxtest.Run(t, c)
	<-c.Ready()
	synctest.Wait()
	return c
}

// numbers returns bodies.
func numbers(n int) [][]byte {
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = []byte(strconv.Itoa(i))
	}
	return bodies
}

// expect reports an invariant that does not hold.
func expect(t *testing.T, c check, ok bool, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	if ok {
		t.Log(text)
		return
	}
	t.Errorf("%s: %s", c, text)
}

// TestGiveUpsG1: 20 nsqds, one handler of 5 s that never fails, and no message is given up.
func TestGiveUpsG1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nsqds, each = 20, 30
		var handled, dead atomic.Int64
		servers := nsqxtest.NewServers(t, nsqds, nsqxtest.WithoutLog())
		largeConsumer(t, func(context.Context, string) error {
			time.Sleep(5 * time.Second)
			handled.Add(1)
			return nil
		}, nsqxtest.Option(servers...), nsqx.WithConcurrency(1), nsqx.WithMaxAttempts(3),
			nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error { dead.Add(1); return nil }))
		start, attempts := time.Now(), 0
		ids := make([][]handler.ID, nsqds)
		for i, s := range servers {
			ids[i] = s.Publish(fleetTopic, numbers(each)...)
		}
		for handled.Load()+dead.Load() < nsqds*each && time.Since(start) < 3*time.Hour {
			time.Sleep(time.Second)
		}
		took := time.Since(start)
		for i, s := range servers {
			for _, id := range ids[i] {
				attempts += s.Attempts(fleetTopic, fleetChannel, id)
			}
		}
		mean := float64(attempts) / (nsqds * each)
		expect(t, checkGiveUps, handled.Load() == nsqds*each && dead.Load() == 0 && mean <= 1.03,
			"%d handled and %d dead of %d in %v, mean attempts %.2f; want all, 0 and at most 1.03", handled.Load(), dead.Load(), nsqds*each, took, mean)
	})
}

// TestHungWorkersG2: workers that hang stay busy when their connection is lost, so nothing is asked for that they would have
// to start.
func TestHungWorkersG2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := nsqxtest.NewServer(t)
		var runs atomic.Int64
		largeConsumer(t, func(_ context.Context, body string) error {
			if body == "hangs" && runs.Add(1) <= 7 {
				<-release
				return nil
			}
			time.Sleep(2 * time.Second)
			return nil
		}, s.Option(), nsqx.WithConcurrency(8))
		for range 7 {
			s.Publish(fleetTopic, []byte("hangs"))
		}
		time.Sleep(time.Second)
		s.Disconnect()
		time.Sleep(2 * time.Minute) // nsqd gives the messages to the last worker
		before := s.Stats(fleetTopic, fleetChannel).Requeued
		s.Publish(fleetTopic, numbers(100)...)
		start := time.Now()
		for s.Stats(fleetTopic, fleetChannel).Finished < 107 && time.Since(start) < time.Hour {
			time.Sleep(time.Second)
		}
		st := s.Stats(fleetTopic, fleetChannel)
		n := st.Requeued - before
		expect(t, checkHungWorkers, n <= 8 && st.Finished == 107,
			"%d REQs for 100 messages, %d of 107 finished after %v; want at most 8, and all", n, st.Finished, time.Since(start))
		close(release)
	})
}

// TestCeilingG1: a fixed MaxInFlight far above what handlers can do leads to no give-backs but the first.
func TestCeilingG1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		largeConsumer(t, func(context.Context, string) error {
			time.Sleep(3 * time.Second)
			return nil
		}, s.Option(), nsqx.WithConcurrency(20), nsqx.WithMaxInFlight(200))
		s.Publish(fleetTopic, numbers(1000)...)
		start := time.Now()
		for s.Stats(fleetTopic, fleetChannel).Finished < 1000 && time.Since(start) < time.Hour {
			time.Sleep(time.Second)
		}
		later := 0
		requeues := s.Requeues(fleetTopic, fleetChannel)
		for _, r := range requeues {
			if r.Time.After(requeues[0].Time) {
				later++
			}
		}
		st := s.Stats(fleetTopic, fleetChannel)
		expect(t, checkCeiling, later == 0 && st.Finished == 1000,
			"%d messages given back, %d of them after the first time; %d of 1000 finished after %v", len(requeues), later, st.Finished, time.Since(start))
	})
}

// TestQuietG1: more nsqds than handlers cost a quiet consumer little latency.
func TestQuietG1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const messages = 300
		servers := nsqxtest.NewServers(t, 50)
		var mu sync.Mutex
		var waits []time.Duration
		published := make(map[string]time.Time)
		largeConsumer(t, func(_ context.Context, body string) error {
			mu.Lock()
			waits = append(waits, time.Since(published[body]))
			mu.Unlock()
			time.Sleep(time.Second)
			return nil
		}, nsqxtest.Option(servers...), nsqx.WithConcurrency(2))
		commands := func() (n int) {
			for _, s := range servers {
				n += len(s.Commands("RDY"))
			}
			return n
		}
		r := rand.New(rand.NewPCG(1, 2))
		time.Sleep(time.Minute)
		before, start := commands(), time.Now()
		for i := range messages {
			time.Sleep(time.Duration(r.ExpFloat64() * float64(5*time.Second)))
			mu.Lock()
			published[strconv.Itoa(i)] = time.Now()
			mu.Unlock()
			servers[r.IntN(len(servers))].Publish(fleetTopic, []byte(strconv.Itoa(i)))
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		var sum, most time.Duration
		for _, w := range waits {
			sum, most = sum+w, max(most, w)
		}
		mean := sum / time.Duration(max(len(waits), 1))
		n := commands() - before
		expect(t, checkQuiet, len(waits) == messages && mean <= 40*time.Millisecond,
			"latency of %d messages: mean %v, longest %v, want a mean of 40ms at most; %d RDYs, %.1f a message, %.1f a second",
			len(waits), mean, most, n, float64(n)/messages, float64(n)/time.Since(start).Seconds())
	})
}

// TestNewAddressesG9: an nsqd moves to a new address each minute for a day, and neither memory nor tables nor goroutines
// grow.
func TestNewAddressesG9(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := nsqxtest.NewLookupd(t)
		servers := nsqxtest.NewServers(t, 3, nsqxtest.WithLookupds(l), nsqxtest.WithoutLog())
		for _, s := range servers {
			s.Unpause(fleetTopic, fleetChannel)
		}
		var handled atomic.Int64
		c := largeConsumer(t, func(context.Context, string) error { handled.Add(1); return nil }, l.Option(), nsqx.WithConcurrency(4), nsqx.WithMaxNSQDs(24))
		var memory uint64
		goroutines, tables := 0, 0
		for i := range 24 * 60 {
			s := servers[i%len(servers)]
			s.Publish(fleetTopic, []byte("x"))
			s.Stop()
			s.Start(fmt.Sprintf("nsqd-%d.test:4150", i+10))
			time.Sleep(time.Minute)
			tables = max(tables, len(c.Stats().Connections))
			if i == 60 {
				goroutines, _ = countGoroutines()
				memory = heap()
			}
		}
		time.Sleep(5 * time.Minute)
		n, _ := countGoroutines()
		used := heap()
		expect(t, checkFlat, n <= goroutines+10 && used <= memory+4<<20 && tables <= 24,
			"after an hour and a day: %d and %d goroutines, %d and %d KB of heap; at most %d addresses of 3 nsqds",
			goroutines, n, memory>>10, used>>10, tables)
		expect(t, checkHandled, handled.Load() >= 24*60, "%d of %d messages handled", handled.Load(), 24*60)
	})
}
