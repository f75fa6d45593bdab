package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
)

// TestRunOnce: a second Run is refused at any time, and changes nothing.
func TestRunOnce(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		s := d.run(done)
		l := d.line(nsqd1)
		for range 2 {
			wantErr(t, "a second Run", s.Run(context.Background()), nsqx.ErrAlreadyRun)
		}
		l.send(1)
		l.wantCommands("FIN", "FIN 1")
		s.wantStop(closeTime)
		wantErr(t, "Run again", s.Run(context.Background()), nsqx.ErrAlreadyRun)
		want(t, "dials", d.net.Dials(), 1)
	})
}

// TestRunWithAnEndedContext: Run returns at once and does not dial, but counts as the one Run.
func TestRunWithAnEndedContext(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		d := newNSQDs(t)
		tel := &telemetry{}
		c := d.consumer(done, nsqx.WithTelemetry(tel))
		wantErr(t, "Run", c.Run(ctx), nil)
		want(t, "took", d.since(), 0)
		want(t, "dials", d.net.Dials(), 0)
		want(t, "observed", tel.running, 0)
		wantErr(t, "Run again", c.Run(context.Background()), nsqx.ErrAlreadyRun)
	})
}

// TestHandlerContext: the handler's context has the values of Run's context but not its end, the
// message, and the deadline of the message.
func TestHandlerContext(t *testing.T) {
	type key struct{}
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		ran := false
		s := d.runContext(context.WithValue(context.Background(), key{}, "v"), func(ctx context.Context, body string) error {
			ran = true
			want(t, "value", ctx.Value(key{}), any("v"))
			m := handler.FromContext(ctx)
			want(t, "message", fmt.Sprintln(m.ID, m.Attempts, m.Topic(), m.Channel(), m.NSQD()), fake.ID(1)+" 3 orders billing "+nsqd1+"\n")
			want(t, "body", string(m.Body), "hello")
			want(t, "payload", body, "hello")
			deadline, _ := ctx.Deadline()
			want(t, "deadline", deadline, d.start.Add(15*time.Minute))
			deadline, _ = m.Deadline()
			want(t, "deadline of the message", deadline, d.start.Add(late))
			<-ctx.Done()
			want(t, "cause", context.Cause(ctx), handler.ErrMessageTimeout)
			want(t, "ended after", d.since(), late-time.Second)
			return ctx.Err()
		}, nsqx.WithRetry(seconds))
		l := d.line(nsqd1)
		l.sendAs(1, 3, "hello")
		time.Sleep(time.Minute)
		l.wantAnswers("58.75s REQ 1 3000")
		want(t, "ran", ran, true)
		s.wantStop(closeTime)
	})
}

// TestHandlerUsesTheConsumer: no lock is held while a handler runs, and a handler may cancel Run.
func TestHandlerUsesTheConsumer(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		src := newSource(t)
		ready := make(chan struct{})
		var s *service
		s = d.run(func(ctx context.Context, body string) error {
			if body == "inner" {
				return errBill
			}
			<-ready
			want(t, "running", s.Stats().Running, 1)
			out := s.Process(ctx, src.message(1, 0, "inner"))
			want(t, "inner outcome", out.Disposition, handler.Requeue)
			wantErr(t, "Run inside", s.Run(ctx), nsqx.ErrAlreadyRun)
			s.cancel()
			time.Sleep(time.Second)
			return ctx.Err() // cancelling Run does not cancel handlers
		})
		l := d.line(nsqd1)
		l.send(1)
		synctest.Wait()
		close(ready)
		<-s.done
		want(t, "took", s.took, time.Second+closeTime)
		wantErr(t, "Run", s.err, nil)
		l.wantCommands("FIN REQ", "FIN 1")
	})
}

// TestConcurrency: as many handlers as configured run at once; fewer only without work.
func TestConcurrency(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t, nsqd1, nsqd2)
		var mu sync.Mutex
		running, most, total := 0, 0, 0
		count := func(n int) (nth int) {
			mu.Lock()
			defer mu.Unlock()
			running += n
			most = max(most, running)
			total += max(n, 0)
			return total
		}
		s := d.run(func(context.Context, string) error {
			nth := count(1)
			defer count(-1)
			time.Sleep(time.Duration(1+nth%7) * time.Millisecond)
			if nth%5 == 0 {
				panic("x")
			}
			return nil
		}, nsqx.WithConcurrency(5), nsqx.WithMaxInFlight(400))
		d.line(nsqd1).flood(1, 200)
		d.line(nsqd2).flood(1001, 200)
		synctest.Wait()
		stats := s.Stats()
		want(t, "running", stats.Running, 5)
		want(t, "queued", stats.Queued, 395)
		want(t, "in flight", stats.Connections[0].InFlight+stats.Connections[1].InFlight, 400)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want(t, "most at once", most, 5)
		want(t, "handled", total, 400)
		stats = s.Stats()
		want(t, "settled", stats.Finished+stats.Requeued, 400)
		want(t, "in flight", stats.Connections[0].InFlight+stats.Connections[1].InFlight, 0)
		s.wantStop(closeTime)
	})
}

// TestOldestFirst: one worker handles the messages of a connection in their order.
func TestOldestFirst(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		var got []string
		s := d.run(func(_ context.Context, body string) error { got = append(got, body); return nil },
			nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(300))
		l := d.line(nsqd1)
		var ids []uint64
		for id := range uint64(300) {
			ids = append(ids, id)
		}
		l.send(ids...)
		synctest.Wait()
		want(t, "handled", len(got), 300)
		want(t, "in order", slices.IsSorted(got), true)
		s.wantStop(closeTime)
	})
}

// TestHeartbeats: heartbeats are answered whatever the handlers do.
func TestHeartbeats(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		s := d.run(func(context.Context, string) error { time.Sleep(5 * time.Minute); return nil }, nsqx.WithConcurrency(1))
		l := d.line(nsqd1)
		l.send(1, 2)
		time.Sleep(5*time.Minute - time.Second)
		want(t, "heartbeats answered", len(l.entries("NOP")), 9)
		s.stop()
	})
}

// TestServices: Run returns when all services have, and the first that returns stops the others.
func TestServices(t *testing.T) {
	bubble(t, "cancelled", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		a, b := &job{err: errBill}, &job{}
		err := nsqx.Run(ctx, a, b)
		wantErr(t, "Run", err, errBill)
		want(t, "a ran", a.ran, 61*time.Second)
		want(t, "b ran", b.ran, 61*time.Second)
	})
	bubble(t, "in good order", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		wantErr(t, "Run", nsqx.Run(ctx, &job{}, &job{}), nil)
	})
	for name, end := range map[string]error{"one fails": errBill, "one returns": nil} {
		bubble(t, name, func(t *testing.T) {
			a, b, c := &job{end: make(chan error)}, &job{err: errOther}, &job{}
			time.AfterFunc(time.Minute, func() { a.end <- end })
			err := nsqx.Run(context.Background(), a, b, c)
			if errors.Is(err, errBill) != (end != nil) || !errors.Is(err, errOther) {
				t.Errorf("Run returned %v", err)
			}
			want(t, "errors", len(faults(err)), 2)
			want(t, "ended too early", errors.Is(err, nsqx.ErrEnded), end == nil)
			want(t, "b ran", b.ran, 61*time.Second)
			want(t, "c ran", c.ran, 61*time.Second)
		})
	}
	bubble(t, "none", func(t *testing.T) {
		wantErr(t, "Run", nsqx.Run(context.Background()), nil)
	})
	bubble(t, "a nil one", func(t *testing.T) {
		a := &job{}
		ctx, cancel := context.WithCancel(context.Background())
		if err := nsqx.Run(ctx, a, nil); err == nil || !strings.Contains(err.Error(), "nil") {
			t.Errorf("Run returned %v", err)
		}
		cancel()
		time.Sleep(time.Minute)
		want(t, "the other ran", a.ran, 0)
	})
	bubble(t, "consumers", func(t *testing.T) {
		d := newNSQDs(t)
		d.net.Refuse(errOther)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		a, b := d.consumer(done), d.consumer(done)
		wantErr(t, "Run", nsqx.Run(ctx, a, b, a), nsqx.ErrAlreadyRun) // a can run only once
		want(t, "took", d.since(), 0)
	})
}
