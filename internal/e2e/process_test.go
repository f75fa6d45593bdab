package e2e

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/retry"
)

// TestFrozenBeforeConnectF6: the kernel accepts for a stopped process. One deadline ends the whole
// handshake.
func TestFrozenBeforeConnectF6(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.StartChild(t, time.Minute)
		s.EnsureChannel(topic, channel)
		s.Publish(topic, []byte("m"))
		s.Freeze()
		book, w := newLedger(), new(watch)
		c := newConsumer(t, handles(book), nsqx.WithNSQD(s.Addr()), nsqx.WithConn(quick), nsqx.WithHooks(w.hooks()))
		began := time.Now()
		r := start(t, c)
		eventually(t, func() bool { return len(w.events(&w.dialErrors)) > 0 }, "a handshake that fails")
		ev := w.events(&w.dialErrors)[0]
		if e, ok := errors.AsType[*conn.Error](ev.Err); !ok || e.Phase != conn.PhaseIdentify || e.Permanent() || !errors.Is(e, os.ErrDeadlineExceeded) {
			t.Errorf("dial error %v", ev.Err)
		}
		if took := ev.Time.Sub(began); took < quick.HandshakeTimeout || took > quick.HandshakeTimeout+slack {
			t.Errorf("the handshake took %v", took)
		}
		s.Thaw()
		book.wait(t, 1)
		eventually(t, func() bool { return s.Channel(topic, channel).Unfinished() == 0 }, "the message to be finished")
		r.mustStop()
		w.checkDials(t)
	})
}

// TestFrozenServerF7: nsqd is stopped while busy, and continues later. Answers to its earlier
// messages are dropped.
func TestFrozenServerF7(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.StartChild(t, 5*time.Second)
		s.EnsureChannel(topic, channel)
		s.Publish(topic, []byte("m"))
		book, w := newLedger(), new(watch)
		running := make(chan struct{}, 1)
		c := newConsumer(t, orphaned(t, book, running), nsqx.WithNSQD(s.Addr()), nsqx.WithConn(quick), nsqx.WithHooks(w.hooks()))
		r := start(t, c)
		receive(t, running, "the handler")
		s.Freeze()
		since := time.Now()
		if ev := w.lostSoon(t, since); !errors.Is(ev.Err, os.ErrDeadlineExceeded) {
			t.Errorf("disconnected with %v, want a deadline", ev.Err)
		}
		s.Thaw()
		book.wait(t, 1)
		eventually(t, func() bool { return s.Channel(topic, channel).Unfinished() == 0 }, "the message to be finished")
		r.mustStop()
		if d := book.of("m"); len(d) != 2 || d[1].attempts != 2 {
			t.Errorf("deliveries %+v", d)
		}
		if got := dispositions(w); !slices.Equal(got, []handler.Disposition{handler.Lost, handler.Finish}) || len(w.events(&w.refused)) > 0 {
			t.Errorf("outcomes %v, refused %v", got, w.events(&w.refused))
		}
		w.checkDials(t)
	})
}

// TestKilledF5: nsqd is killed under load. It loses only messages in flight or deferred. nsqx
// handles the rest, and new messages.
func TestKilledF5(t *testing.T) {
	t.Parallel()
	const n, enough, maxInFlight = 300, 101, 16
	s := testnsqd.StartChild(t, time.Minute)
	s.EnsureChannel(topic, channel)
	bodies := numbered("m", n)
	s.Publish(topic, bodies...)
	// A message not yet in the channel would be lost, too.
	eventually(t, func() bool { return s.Channel(topic, channel).Depth == n }, "all messages to be in the channel")
	book, w := newLedger(), new(watch)
	full, killed := make(chan struct{}), make(chan struct{})
	var begun atomic.Int64
	c := newConsumer(t, func(ctx context.Context, body string) error {
		book.begin(ctx, body)
		i := begun.Add(1)
		switch {
		case i < enough && i%20 == 0:
			return retry.After(time.Hour, nil) // nsqd keeps deferred messages in memory only
		case i == enough:
			close(full)
			fallthrough
		case i > enough && i < enough+8:
			select {
			case <-killed:
			case <-ctx.Done():
			}
			return errFailed
		}
		book.succeed(body)
		return nil
	}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(8), nsqx.WithMaxInFlight(maxInFlight), nsqx.WithHooks(w.hooks()))
	r := start(t, c)
	receive(t, full, "handlers")
	s.Kill()
	close(killed)
	eventually(t, func() bool { return !c.Stats().Connections[0].Connected }, "the connection to end")
	s.Restart()
	fresh := numbered("fresh", 20)
	s.Publish(topic, fresh...)
	for _, b := range fresh {
		eventually(t, func() bool { return len(book.of(string(b))) > 0 }, "messages after the restart")
	}
	eventually(t, func() bool { st := s.Channel(topic, channel); return st.Depth == 0 && st.InFlight == 0 }, "the queue to be empty")
	r.mustStop()

	lost, unseen := 0, 0
	for _, b := range append(bodies, fresh...) {
		switch {
		case book.has(string(b)):
		case len(book.of(string(b))) == 0:
			unseen++
		default:
			lost++
		}
	}
	if unseen > maxInFlight || lost+unseen > maxInFlight+enough/20 {
		t.Errorf("%d messages were never delivered, %d never handled", unseen, lost)
	}
	if len(w.events(&w.refused)) > 0 {
		t.Errorf("nsqd refused %v", w.events(&w.refused))
	}
	w.checkDials(t)
	t.Logf("nsqd has lost %d messages that were in flight or deferred, and %d that were sent", lost, unseen)
}
