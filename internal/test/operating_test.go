package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// Tests of what an operator sees: docs/guide/operating.md.

// situations are the logs of the page, by name.
var situations = map[string]func(t *testing.T) *scene{
	"a start and a stop": func(t *testing.T) *scene {
		s := newScene(t, 2, 1)
		s.publish(0, 1)
		s.publish(1, 2)
		_, stop := s.consume(works)
		time.Sleep(10 * time.Minute)
		stop()
		return s
	},
	"a topic that does not exist yet": func(t *testing.T) *scene {
		s := newScene(t, 1, 1)
		s.consume(works)
		time.Sleep(time.Hour)
		s.publish(0, 1)
		time.Sleep(time.Minute)
		return s
	},
	"one nsqd of three is down": func(t *testing.T) *scene {
		s := newScene(t, 3, 0)
		s.consume(works)
		time.Sleep(time.Minute)
		s.servers[1].Stop()
		time.Sleep(150 * time.Second)
		s.servers[1].Start("")
		time.Sleep(time.Minute)
		return s
	},
	"all nsqds are down": func(t *testing.T) *scene {
		s := newScene(t, 3, 0)
		s.consume(works)
		time.Sleep(time.Minute)
		away(true, s.servers...)
		time.Sleep(150 * time.Second)
		away(false, s.servers...)
		time.Sleep(time.Minute)
		return s
	},
	"50 nsqds are down": func(t *testing.T) *scene {
		s := newScene(t, 50, 0)
		s.consume(works)
		time.Sleep(2 * time.Minute)
		away(true, s.servers...)
		time.Sleep(100 * time.Second)
		away(false, s.servers...)
		time.Sleep(2 * time.Minute)
		return s
	},
	"an nsqd has moved": func(t *testing.T) *scene {
		s := newScene(t, 2, 1)
		s.publish(0, 1)
		s.publish(1, 2)
		s.consume(works)
		time.Sleep(time.Minute)
		s.servers[1].Stop()
		s.servers[1].Start("nsqd-9.test:4150")
		time.Sleep(6 * time.Hour)
		return s
	},
	"a nsqlookupd is down": func(t *testing.T) *scene {
		s := newScene(t, 1, 2)
		s.publish(0, 1)
		s.consume(works)
		time.Sleep(time.Minute)
		s.lookupds[1].Stop()
		time.Sleep(200 * time.Second)
		s.lookupds[1].Start()
		time.Sleep(2 * time.Minute)
		return s
	},
	"the secret is not accepted": func(t *testing.T) *scene {
		s := newScene(t, 1, 0, nsqxtest.WithAuth("right"))
		s.consume(works, nsqx.WithConn(conn.Config{AuthSecret: func(context.Context) (string, error) { return "wrong", nil }}))
		time.Sleep(100 * time.Second)
		return s
	},
	"a permission is withdrawn": permissionWithdrawn,
	"a certificate has expired": certificateExpires,
	"the nsqd of a publisher is down": func(t *testing.T) *scene {
		s := newScene(t, 2, 0)
		p := s.producer(nsqx.WithAtLeastOnce())
		time.Sleep(time.Minute)
		s.servers[1].Stop()
		for range 150 {
			want(t, "publish", p.Publish(t.Context(), "1"), nil)
			time.Sleep(time.Second)
		}
		s.servers[1].Start("")
		time.Sleep(time.Minute)
		return s
	},
	"the disk of an nsqd is full": func(t *testing.T) *scene {
		s := newScene(t, 1, 0)
		p := s.producer()
		want(t, "publish", p.Publish(t.Context(), "1"), nil)
		time.Sleep(time.Minute)
		s.servers[0].On("PUB", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
			return nsqxtest.Fail("E_PUB_FAILED PUB failed write /data/orders.diskqueue.000000.dat: no space left on device")
		})
		for began := time.Now(); time.Since(began) < 150*time.Second; time.Sleep(time.Second) {
			wantErr(t, "publish", p.Publish(t.Context(), "1"), nsqx.ErrNotSent)
		}
		s.servers[0].On("PUB", nil)
		want(t, "publish", p.Publish(t.Context(), "1"), nil)
		time.Sleep(2 * time.Minute)
		return s
	},
	"the database refuses": func(t *testing.T) *scene {
		s, down := newScene(t, 1, 0), new(atomic.Bool)
		s.consume(func(context.Context, int) error {
			if down.Load() {
				return errDown
			}
			return nil
		})
		databaseOutage(s, down, 150*time.Second)
		return s
	},
	"the database does not answer": func(t *testing.T) *scene {
		s, down := newScene(t, 1, 0), new(atomic.Bool)
		s.consume(func(ctx context.Context, _ int) error {
			if down.Load() {
				<-ctx.Done()
				return fmt.Errorf("query: %w", ctx.Err())
			}
			return nil
		}, nsqx.WithMiddleware(middleware.Timeout(5*time.Second)))
		databaseOutage(s, down, 150*time.Second)
		return s
	},
	"a poison message": func(t *testing.T) *scene {
		s := newScene(t, 1, 0)
		s.consume(func(_ context.Context, n int) error {
			if n == 13 {
				return errBill
			}
			return nil
		}, nsqx.WithRetry(retry.Schedule(20*time.Second)))
		s.publish(0, 13)
		for range 10 {
			s.publish(0, 1)
			time.Sleep(21 * time.Second)
		}
		return s
	},
	"messages are given up": func(t *testing.T) *scene {
		s := newScene(t, 1, 0)
		s.consume(func(_ context.Context, n int) error {
			if n%20 == 0 {
				return errBill
			}
			return nil
		}, nsqx.WithRetry(retry.Schedule(time.Minute)), nsqx.WithMaxAttempts(2), dead)
		for n := range 100 {
			s.publish(0, n)
		}
		time.Sleep(30 * time.Second)
		s.publish(0, 1) // in whatever order these were handled, there is no row of ten failures
		time.Sleep(90 * time.Second)
		return s
	},
	"the dead-letter topic refuses": func(t *testing.T) *scene {
		s := newScene(t, 1, 0)
		s.servers[0].On("PUB", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
			return nsqxtest.Fail("E_PUB_FAILED PUB failed no space left on device")
		})
		s.consume(func(context.Context, int) error { return retry.Permanent(errBill) }, nsqx.WithRetry(retry.Schedule(time.Minute)), dead)
		s.publish(0, 1)
		time.Sleep(30 * time.Second)
		return s
	},
	"no dead letter is configured": func(t *testing.T) *scene {
		s := newScene(t, 1, 0)
		s.consume(func(_ context.Context, n int) error {
			if n == 1 {
				return retry.Drop(errBill)
			}
			return retry.Permanent(errBill)
		})
		s.publish(0, 1)
		s.publish(0, 2)
		time.Sleep(30 * time.Second)
		return s
	},
	"a bad release": func(t *testing.T) *scene {
		s := newScene(t, 1, 0)
		s.consume(works)
		for range 100 {
			s.servers[0].Publish("orders", []byte(`{"order":7}`))
		}
		time.Sleep(100 * time.Second)
		return s
	},
	"a handler panics": func(t *testing.T) *scene {
		s := newScene(t, 1, 0)
		s.consume(func(_ context.Context, n int) error { return fmt.Errorf("item %d", make([]int, 3)[n]) }, nsqx.WithRetry(retry.Schedule(time.Hour)))
		for n := 3; n < 8; n++ {
			s.publish(0, n)
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		return s
	},
	"a stuck handler": func(t *testing.T) *scene {
		s := newScene(t, 1, 0)
		s.consume(func(ctx context.Context, _ int) error {
			if handler.FromContext(ctx).Attempts == 1 {
				time.Sleep(200 * time.Second) // ignores ctx
			}
			return nil
		}, nsqx.WithConcurrency(2))
		s.publish(0, 1)
		time.Sleep(300 * time.Second)
		return s
	},
	"no handler is free": func(t *testing.T) *scene {
		s, slow := newScene(t, 1, 0), new(atomic.Bool)
		s.consume(func(context.Context, int) error {
			if slow.Load() {
				time.Sleep(20 * time.Second)
			}
			return nil
		}, nsqx.WithConcurrency(2))
		for range 2000 { // quick handlers, so messages are requested ahead
			s.publish(0, 1)
			time.Sleep(time.Millisecond)
		}
		slow.Store(true)
		for range 100 {
			s.publish(0, 1)
		}
		time.Sleep(100 * time.Second)
		slow.Store(false)
		time.Sleep(time.Minute)
		return s
	},
	"a drain that waits": func(t *testing.T) *scene {
		s := newScene(t, 1, 0)
		_, stop := s.consume(func(context.Context, int) error { time.Sleep(12 * time.Second); return nil })
		s.publish(0, 1)
		time.Sleep(time.Second)
		stop()
		return s
	},
}

// databaseOutage lets good messages come each second, and the database fail for a while.
func databaseOutage(s *scene, down *atomic.Bool, d time.Duration) {
	began := time.Now()
	for i := 0; time.Since(began) < d+4*time.Minute; i++ {
		since := time.Since(began)
		down.Store(since > time.Minute && since < time.Minute+d)
		s.publish(0, i)
		time.Sleep(100 * time.Millisecond)
	}
}

// TestOperating: the page has the log of each situation, as it is.
func TestOperating(t *testing.T) {
	logs := make(map[string]string)
	for name, play := range situations {
		bubble(t, name, func(t *testing.T) {
			s := play(t)
			synctest.Wait()
			logs[name] = strings.Join(s.lines.all(), "\n") + "\n"
		})
	}
	if !t.Failed() {
		checkOperatingPage(t, logs)
	}
}

// TestInProgress: Stats name the messages that handlers work on.
func TestInProgress(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newScene(t, 1, 0)
		hang, _, release := hangs()
		c, _ := s.consume(func(ctx context.Context, _ int) error { return hang(ctx, "") }, nsqx.WithConcurrency(100))
		s.servers[0].PublishMessage("orders", []byte("1"), nsqxtest.WithAttempts(42), nsqxtest.WithTimestamp(time.Now().Add(-time.Hour)))
		synctest.Wait()
		time.Sleep(time.Minute)
		for n := range 98 { // one more is the first message, delivered again
			s.publish(0, n)
		}
		time.Sleep(time.Second)
		st := c.Stats()
		want(t, "running", st.Running, 100)
		want(t, "overdue", st.Overdue, 1)
		want(t, "highest attempt", st.HighestAttempt, 43) // delivered again
		want(t, "oldest age", st.OldestAge, time.Hour+61*time.Second)
		want(t, "listed", len(st.InProgress), 64)
		first, last := st.InProgress[0], st.InProgress[63]
		want(t, "age of the oldest", first.Age.Round(time.Second), 61*time.Second)
		want(t, "attempt, overdue, nsqd", fmt.Sprintln(first.Attempt, first.Overdue, first.NSQD), "42 true nsqd-1.test:4150\n")
		want(t, "attempt, overdue of another", fmt.Sprintln(last.Attempt, last.Overdue), "1 false\n")
		release()
		time.Sleep(time.Second)
		st = c.Stats()
		want(t, "at the end", fmt.Sprintln(len(st.InProgress), st.Overdue, st.HighestAttempt, st.OldestAge), "0 0 0 0s\n")
	})
}

// TestDeliveryHasOneLine: whatever becomes of a message, it leaves at most one line.
func TestDeliveryHasOneLine(t *testing.T) {
	for name, tt := range map[string]struct {
		fn   func(context.Context, int) error
		opts []nsqx.ConsumerOption
	}{
		"dead letter":      {func(context.Context, int) error { return errBill }, opts(nsqx.WithMaxAttempts(1), dead)},
		"panic":            {func(context.Context, int) error { panic(errBill) }, opts(nsqx.WithMaxAttempts(1), dead)},
		"policy panics":    {func(context.Context, int) error { return errBill }, opts(nsqx.WithRetry(retry.PolicyFunc(func(int, error) time.Duration { panic(errOther) })))},
		"delay cut":        {func(context.Context, int) error { return retry.After(3*time.Hour, errBill) }, nil},
		"dead letter func": {func(context.Context, int) error { return errBill }, opts(nsqx.WithMaxAttempts(1), nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error { panic(errOther) }))},
		"crash guard":      {func(context.Context, int) error { return nil }, opts(nsqx.WithCrashGuard(2), dead)},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newScene(t, 1, 0)
			_, stop := s.consume(tt.fn, append(tt.opts, nsqx.WithoutBackoff())...)
			s.servers[0].PublishMessage("orders", []byte("1"), nsqxtest.WithAttempts(9))
			time.Sleep(time.Second)
			want(t, "lines about the message", s.count("msg.id="), 1)
			stop()
			want(t, "lines about the message, at the end", s.count("msg.id="), 1)
		})
	}
}

// TestWithoutFailureLog: failures leave no line, panics do.
func TestWithoutFailureLog(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newScene(t, 1, 0)
		s.consume(func(_ context.Context, n int) error {
			if n == 1 {
				panic(errOther)
			}
			return errors.New("fails")
		}, nsqx.WithoutFailureLog())
		s.publish(0, 1)
		s.publish(0, 2)
		time.Sleep(time.Second / 2)
		want(t, "lines", len(s.lines.all()), 2)
		want(t, "panics", s.count("panic while handling"), 1)
	})
}
