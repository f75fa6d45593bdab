package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/internal/fake"
)

// orphaned returns a handler whose first run waits for the end of its context and then succeeds,
// too late.
func orphaned(tb testing.TB, book *ledger, running chan<- struct{}) func(context.Context, string) error {
	return func(ctx context.Context, body string) error {
		book.begin(ctx, body)
		if handler.FromContext(ctx).Attempts == 1 {
			running <- struct{}{}
			<-ctx.Done()
			if cause := context.Cause(ctx); cause != handler.ErrConnLost {
				tb.Errorf("context ended with cause %v", cause)
			}
			return nil
		}
		book.succeed(body)
		return nil
	}
}

// TestFrozenPathF8F9: bytes stop passing, in one direction or both. Within two heartbeats and a
// second the connection is closed. The handler's result and late bytes are dropped, and the message
// is delivered again once the path is open.
func TestFrozenPathF8F9(t *testing.T) {
	t.Parallel()
	both := []testnsqd.Direction{testnsqd.ToServer, testnsqd.ToClient}
	for name, frozen := range map[string][]testnsqd.Direction{
		"F8: both directions": both, "F9: to the client": both[1:], "F9: to nsqd": both[:1],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				s := testnsqd.Start(t, messageTimeout(5*time.Second))
				p := testnsqd.StartProxy(t, s.Addr())
				book, w := newLedger(), new(watch)
				running := make(chan struct{}, 1)
				c := newConsumer(t, orphaned(t, book, running), nsqx.WithNSQD(p.Addr()), nsqx.WithConn(quick), nsqx.WithHooks(w.hooks()))
				publish(t, s, topic, []byte("m"))
				r := start(t, c)
				receive(t, running, "the handler")
				for _, d := range frozen {
					p.Freeze(d)
				}
				since := time.Now()
				ev := w.lostSoon(t, since)
				if frozen[len(frozen)-1] == testnsqd.ToClient && !errors.Is(ev.Err, os.ErrDeadlineExceeded) {
					t.Errorf("disconnected with %v, want a deadline", ev.Err)
				}
				eventually(t, func() bool { return len(w.events(&w.dialErrors)) > 0 }, "a dial that fails")
				if e, ok := errors.AsType[*conn.Error](w.events(&w.dialErrors)[0].Err); !ok || e.Phase != conn.PhaseIdentify || e.Permanent() {
					t.Errorf("dial error %v", e)
				}
				if err := c.Healthy(); !errors.Is(err, nsqx.ErrNoNSQD) {
					t.Errorf("healthy: %v", err)
				}
				for _, d := range frozen {
					p.Thaw(d)
				}
				book.wait(t, 1)
				finished(t, s, c, 1)
				r.mustStop()

				if d := book.of("m"); len(d) != 2 || d[1].attempts != 2 {
					t.Errorf("deliveries %+v", d)
				}
				want := []handler.Disposition{handler.Lost, handler.Finish}
				if got := dispositions(w); !slices.Equal(got, want) || len(w.events(&w.refused)) > 0 {
					t.Errorf("outcomes %v, refused %v", got, w.events(&w.refused))
				}
				w.checkDials(t)
			})
		})
	}
}

// TestLostFINsF9: handlers succeed, but the path to nsqd is frozen. nsqd closes the connection and
// delivers the messages again.
func TestLostFINsF9(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const n = 5
		s := testnsqd.Start(t, messageTimeout(4*time.Second))
		p := testnsqd.StartProxy(t, s.Addr())
		book, w := newLedger(), new(watch)
		g := newGated(t)
		c := newConsumer(t, func(ctx context.Context, body string) error {
			book.begin(ctx, body)
			_ = g.handle(ctx, body)
			book.succeed(body)
			return nil
		}, nsqx.WithNSQD(p.Addr()), nsqx.WithConn(quick), nsqx.WithHooks(w.hooks()), nsqx.WithConcurrency(n))
		bodies := numbered("m", n)
		publish(t, s, topic, bodies...)
		r := start(t, c)
		for range n {
			receive(t, g.began, "handlers")
		}
		p.Freeze(testnsqd.ToServer)
		since := time.Now()
		close(g.gate)
		book.wait(t, n)
		w.lostSoon(t, since)
		p.Thaw(testnsqd.ToServer)
		eventually(t, func() bool {
			return s.Channel(topic, channel).Unfinished() == 0 && s.Channel(topic, channel).Clients == 1
		}, "all to be finished")
		r.mustStop()
		book.complete(t, bodies)
		// Bytes in the proxy may still reach nsqd before it forgets the connection.
		if st := s.Channel(topic, channel); book.extra() != int(st.TimedOut) || st.Requeued > 0 {
			t.Errorf("%d extra deliveries, nsqd says %+v", book.extra(), st)
		}
	})
}

// TestDeafPeerF10: nsqd sends but does not read. The write deadline ends the connection. Handlers
// and the shutdown are not delayed.
func TestDeafPeerF10(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const n, maxInFlight, timeout = 2000, 1000, 100 * time.Millisecond
		deaf := func(p *fake.Peer) {
			_ = p.Conn.(*net.TCPConn).SetReadBuffer(2048)
			p.Subscribe(nil)
			p.Expect("RDY")
			for i := range n {
				p.Message(fake.ID(uint64(i)), 1, []byte("m"))
			}
			for p.WriteErr() == nil { // heartbeats alone do not keep it alive
				p.Heartbeat()
				time.Sleep(beat / 10)
			}
		}
		var dialer net.Dialer
		cfg := conn.Config{HeartbeatInterval: beat, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := dialer.DialContext(ctx, network, addr)
			if err == nil {
				_ = nc.(*net.TCPConn).SetWriteBuffer(2048)
			}
			return nc, err
		}}
		var handled atomic.Int64
		w := new(watch)
		c := newConsumer(t, func(context.Context, string) error { handled.Add(1); return nil }, nsqx.WithNSQD(fake.Listen(t, deaf)),
			nsqx.WithConn(cfg), nsqx.WithHooks(w.hooks()), nsqx.WithMaxInFlight(maxInFlight), nsqx.WithShutdownTimeout(timeout))
		r := start(t, c)
		eventually(t, func() bool { return handled.Load() >= n }, "all messages to be handled")
		since := time.Now()
		if ev := w.lostSoon(t, since); !errors.Is(ev.Err, os.ErrDeadlineExceeded) {
			t.Errorf("disconnected with %v, want a deadline", ev.Err)
		}
		w.connected(t, 2)
		eventually(t, func() bool { return handled.Load() >= 2*n }, "the messages of the next connection")
		cancelled := time.Now()
		err := r.stop()
		if took := time.Since(cancelled); took > timeout+2*time.Second+slack {
			t.Errorf("Run returned after %v", took)
		}
		if e, ok := errors.AsType[*nsqx.ShutdownError](err); err != nil && (!ok || len(e.Abandoned) > 0 || e.Running > 0) {
			t.Errorf("Run: %v", err)
		}
	})
}
