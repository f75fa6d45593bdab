package notify

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/observe"
)

// fail tells of the nth failure of a kind.
func fail(q *Queue, kind string, n int) {
	q.Fail(context.Background(), FailureKind{"message failed", kind, handler.Requeue}, slog.LevelWarn, nil,
		func() []slog.Attr { return []slog.Attr{slog.String("kind", kind), slog.Int("n", n)} })
}

// TestFailures: the first of a kind at once, then a line in 10 s with the number of the others, after a
// minute one a minute. A kind that has had none for as long begins anew.
func TestFailures(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		began, log := time.Now(), &records{}
		q := newQueue(log)
		q.Start()
		n, seen := 0, 0
		fresh := func() []string {
			all := log.All()[seen:]
			seen += len(all)
			return all
		}
		step := func(kind string, count int, pause time.Duration) {
			for range count {
				n++
				fail(q, kind, n)
				synctest.Wait()
				time.Sleep(pause)
			}
		}
		want := func(what string, lines ...string) {
			t.Helper()
			synctest.Wait()
			for i := range lines {
				lines[i] = `level=WARN msg="nsqx: message failed" ` + lines[i]
			}
			check.Want(t, what, strings.Join(fresh(), "\n"), strings.Join(lines, "\n"))
		}
		step("a", 3, time.Second)
		step("b", 1, 6*time.Second)
		want("the first at once", "kind=a n=1", "kind=b n=4")
		time.Sleep(2 * time.Second)
		want("then the others", "kind=a n=2 more_failures=1 over_seconds=9")
		time.Sleep(time.Minute)
		want("none")
		step("a", 180, 1030*time.Millisecond)
		lines := fresh()
		check.Want(t, "lines in three minutes", len(lines), 1+6+2) // at once, in the first minute, later
		check.Want(t, "one of the first minute", strings.HasSuffix(lines[1], "n=6 more_failures=8 over_seconds=8.97"), true)
		check.Want(t, "one of the others", strings.Contains(lines[8], "more_failures=57 over_seconds=59."), true)
		wantClosed(t, q, time.Second, 0, true)
		check.Want(t, "the rest, at the end", len(fresh()), 1)
		check.Want(t, "it took", time.Since(began) < 5*time.Minute, true)
	})
}

// TestKindsAreBounded: beyond 32 kinds the rest are one.
func TestKindsAreBounded(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		log := &records{}
		q := newQueue(log)
		q.Start()
		for n := range 1000 {
			fail(q, fmt.Sprint(n), n)
			if n == maxKinds {
				synctest.Wait() // the first of the rest is written
			}
		}
		synctest.Wait()
		check.Want(t, "lines", log.Len(), maxKinds+1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		check.Want(t, "lines later", log.Len(), maxKinds+2)
		check.Want(t, "of the rest", log.count("more_failures=966 over_seconds=10"), 1)
		wantClosed(t, q, time.Second, 0, true)
	})
}

// TestFailuresFromManyHandlers: each failure is in one line, alone or as one of others. For the race
// detector, too.
func TestFailuresFromManyHandlers(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		log := &records{}
		q := newQueue(log)
		q.Start()
		var handlers sync.WaitGroup
		for i := range 8 {
			handlers.Go(func() {
				for n := range 500 {
					fail(q, fmt.Sprint(i%2), n)
					time.Sleep(37 * time.Millisecond)
				}
			})
		}
		handlers.Wait()
		time.Sleep(2 * time.Minute)
		wantClosed(t, q, time.Second, 0, true)
		told := 0
		for _, line := range log.All() {
			others := 0
			if _, text, ok := strings.Cut(line, "more_failures="); ok {
				_, _ = fmt.Sscan(text, &others)
			}
			told += 1 + others
		}
		check.Want(t, "failures told", told, 8*500)
	})
}

// TestFailureIsDropped: a failure for which there is no room is told of with the next one.
func TestFailureIsDropped(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		log, block := &records{}, make(chan struct{})
		q := newQueue(log, observe.Hooks{OnConnect: func(observe.ConnEvent) { <-block }})
		q.Start()
		q.Conn(Connect, "a:1", nil, 0)
		synctest.Wait()
		for range backlog {
			q.Post(Event{Kind: Refused})
		}
		fail(q, "a", 1)
		check.Want(t, "dropped", q.Dropped(), 1)
		close(block)
		synctest.Wait()
		check.Want(t, "lines", log.count("message failed"), 0)
		check.Want(t, "drops are told", log.count("events were dropped"), 1)
		fail(q, "a", 2)
		synctest.Wait()
		check.Want(t, "lines", log.count("message failed"), 1)
		wantClosed(t, q, time.Second, 0, true)
	})
}

// TestStackOnce: a panic's stack is written with the first line of its kind, and again after an hour.
func TestStackOnce(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		log, stacks := &records{}, 0
		logger := slog.New(exitHandler{log.logger().Handler(), func(r slog.Record) bool {
			r.Attrs(func(a slog.Attr) bool {
				if a.Key == "stack" {
					stacks++
				}
				return true
			})
			return false
		}})
		q := New(logger, "", "", nil)
		q.Start()
		for range 6 {
			q.Fail(context.Background(), FailureKind{Text: "panic"}, slog.LevelError, []byte("stack"), func() []slog.Attr { return nil })
			time.Sleep(15 * time.Minute)
		}
		check.Want(t, "lines", log.Len(), 6)
		check.Want(t, "stacks", stacks, 2)
		wantClosed(t, q, time.Second, 0, true)
	})
}

// TestTickGoexit: a logger that calls runtime.Goexit for lines that are due loses these alone.
func TestTickGoexit(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		log := &records{}
		var exits atomic.Bool
		q := New(slog.New(exitHandler{log.logger().Handler(), func(slog.Record) bool {
			if exits.Load() {
				runtime.Goexit()
			}
			return false
		}}), "", "", nil)
		q.Start()
		for n := range 10 {
			fail(q, "a", n)
			q.Post(Event{Kind: GivenBack, Reason: "stall", Found: 1})
			q.Post(Event{Kind: Refused})
		}
		synctest.Wait()
		before := log.Len()
		exits.Store(true)
		time.Sleep(time.Hour)
		exits.Store(false)
		check.Want(t, "lines meanwhile", log.Len(), before)
		fail(q, "a", 10)
		synctest.Wait()
		check.Want(t, "lines later", log.Len(), before+1)
		wantClosed(t, q, time.Second, 0, true)
	})
}

// TestFailureWhileItsKindEnds: a failure is told of though its kind is forgotten while its line is made.
func TestFailureWhileItsKindEnds(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		log := &records{}
		q := newQueue(log)
		q.Start()
		fail(q, "a", 1)
		q.Fail(context.Background(), FailureKind{"message failed", "a", handler.Requeue}, slog.LevelWarn, nil, func() []slog.Attr {
			time.Sleep(repeatFailures + 1)
			return []slog.Attr{slog.String("kind", "a"), slog.Int("n", 2)}
		})
		synctest.Wait()
		check.Want(t, "lines", strings.Join(log.All(), "\n"), `level=WARN msg="nsqx: message failed" kind=a n=1
level=WARN msg="nsqx: message failed" kind=a n=2`)
		fail(q, "a", 3)
		time.Sleep(repeatFailures)
		synctest.Wait()
		check.Want(t, "last line", log.All()[2], `level=WARN msg="nsqx: message failed" kind=a n=3 over_seconds=10`)
		wantClosed(t, q, time.Second, 0, true)
	})
}
