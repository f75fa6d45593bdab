package test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// TestAsyncNeverAnswered: a message that is never answered takes one of three places until its time
// is over, and does not keep others from being handled.
func TestAsyncNeverAnswered(t *testing.T) {
	for name, o := range map[string][]nsqx.ConsumerOption{
		"fixed":     {nsqx.WithConcurrency(3), nsqx.WithMaxInFlight(3)},
		"automatic": {nsqx.WithConcurrency(3)},
		"one":       {nsqx.WithConcurrency(1)},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
			fn := handler.Async(func(ctx context.Context, v string, done func(error)) {
				if v == "1" && handler.FromContext(ctx).Attempts == 1 {
					return // never answered
				}
				time.AfterFunc(20*time.Millisecond, func() { done(nil) })
			})
			c, _ := consume(t, []*nsqxtest.Server{s}, fn, append(o, nsqx.WithRetry(retry.Schedule(time.Second)))...)
			start := time.Now()
			sendNumbers(s, 1, 1001)
			s.Await("orders", "billing", func(st nsqxtest.ChannelStats) bool { return st.Finished == 1000 })
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("1000 others took %v", took)
			}
			time.Sleep(time.Millisecond) // the last worker ends after its FIN
			want(t, "unanswered", c.Stats().Unanswered, 1)
			want(t, "running", c.Stats().Running, 0)
			s.Await("orders", "billing", settled(1001))
			if took := time.Since(start); took < 57*time.Second || took > 65*time.Second {
				t.Errorf("the one that was not answered took %v", took)
			}
			want(t, "timed out", s.Stats("orders", "billing").TimedOut, 0)
			want(t, "requeued", s.Stats("orders", "billing").Requeued, 1)
		})
	}
}

// TestAsyncOrder: with concurrency 1 the function is called in order, whoever answers.
func TestAsyncOrder(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		const n = 20_000
		s := nsqxtest.NewServer(t, nsqxtest.WithPatience(time.Hour))
		answers := make(chan func(error), n)
		var answering sync.WaitGroup
		answering.Go(func() {
			for done := range answers {
				done(nil)
			}
		})
		inversions, next := 0, 0
		fn := handler.Async(func(_ context.Context, v string, done func(error)) {
			if v != fmt.Sprint(next) {
				inversions++
			}
			next++
			answers <- done
		})
		sendNumbers(s, 0, n)
		_, stop := consume(t, []*nsqxtest.Server{s}, fn, nsqx.WithConcurrency(1))
		s.Await("orders", "billing", settled(n))
		want(t, "inversions", inversions, 0)
		stop()
		close(answers)
		answering.Wait()
	})
}

// TestAsyncLimits: concurrency limits the calls that run, MaxInFlight what is unanswered.
func TestAsyncLimits(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		var dones synced[func(error)]
		fn := handler.Async(func(_ context.Context, _ string, done func(error)) { dones.add(done) })
		c, _ := consume(t, []*nsqxtest.Server{s}, fn, nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(10))
		sendNumbers(s, 1, 100)
		time.Sleep(5 * time.Second)
		want(t, "unanswered", len(dones.all()), 10)
		want(t, "in flight", s.Stats("orders", "billing").InFlight, 10)
		for _, done := range dones.all()[:4] {
			done(errBill)
			done(nil) // has no effect
		}
		time.Sleep(time.Second / 2)
		want(t, "requeued", s.Stats("orders", "billing").Requeued, 4)
		want(t, "unanswered then", len(dones.all()), 14)
		want(t, "in Stats", c.Stats().Unanswered, 10)
		for _, done := range dones.all() {
			done(nil)
		}
		synctest.Wait()
	})
}

// TestAsyncShutdown: the drain waits for answers, and gives back what has none.
func TestAsyncShutdown(t *testing.T) {
	for name, tt := range map[string]struct {
		answer time.Duration // after the call; 0: never
		took   time.Duration
		depth  int
	}{
		"answered":       {5 * time.Second, 4*time.Second + 100*time.Millisecond, 0},
		"never answered": {0, 21 * time.Second, 3},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServer(t)
			fn := handler.Async(func(_ context.Context, _ string, done func(error)) {
				if tt.answer > 0 {
					time.AfterFunc(tt.answer, func() { done(nil) })
				}
			})
			_, stop := consume(t, []*nsqxtest.Server{s}, fn)
			sendNumbers(s, 1, 3)
			time.Sleep(time.Second)
			start := time.Now()
			stop()
			if took := time.Since(start); took > tt.took {
				t.Errorf("the drain took %v, want at most %v", took, tt.took)
			}
			want(t, "depth", s.Stats("orders", "billing").Depth, tt.depth)
		})
	}
}

// TestAsyncConnLost: a message whose connection is lost frees its place.
func TestAsyncConnLost(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		fn := handler.Async(func(context.Context, string, func(error)) {})
		c, _ := consume(t, []*nsqxtest.Server{s}, fn, nsqx.WithMaxInFlight(4))
		sendNumbers(s, 1, 4)
		time.Sleep(time.Second)
		want(t, "unanswered", c.Stats().Unanswered, 4)
		s.Disconnect()
		time.Sleep(5 * time.Second)
		want(t, "unanswered then", c.Stats().Unanswered, 0)
		want(t, "lost", c.Stats().Lost, 4)
	})
}

// TestAsyncDrainLog: the log of the drain counts the messages whose answers it waits for.
func TestAsyncDrainLog(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		log := new(logbook)
		fn := handler.Async(func(_ context.Context, _ string, done func(error)) {
			time.AfterFunc(15*time.Second, func() { done(nil) })
		})
		stop := nsqxtest.Run(t, newLoggedConsumer(t, log, fn, s.Option()))
		sendNumbers(s, 1, 3)
		time.Sleep(time.Second)
		stop()
		for _, line := range []string{"drain begins", "drain waits for handlers"} {
			if !strings.Contains(log.text(), line) || strings.Contains(log.text(), "running=0") {
				t.Errorf("want %q with running=3 in\n%s", line, log.text())
			}
		}
	})
}
