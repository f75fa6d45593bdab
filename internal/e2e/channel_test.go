package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/retry"
)

// rdyWatch records the RDYs of connections through proxies.
type rdyWatch struct {
	mu       sync.Mutex
	now      map[int]int
	most     int // the highest of one connection
	sum      int
	since    time.Time
	mostSum  int // the highest sum that lasted: two proxies may see concurrent RDYs in another order
	sequence []int
}

// watch records the RDYs that pass p. p must carry one connection at a time.
func (a *rdyWatch) watch(i int, p *testnsqd.Proxy) {
	p.Tap(func(d testnsqd.Direction, b []byte) []byte {
		if d == testnsqd.ToServer {
			a.note(i, string(b))
		}
		return b
	})
}

func (a *rdyWatch) note(i int, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now == nil {
		a.now = make(map[int]int)
	}
	for line := range strings.Lines(text) {
		var n int
		if _, err := fmt.Sscanf(line, "RDY %d", &n); err != nil {
			continue
		}
		a.now[i] = n
		a.sequence = append(a.sequence, n)
		if time.Since(a.since) > 50*time.Millisecond {
			a.mostSum = max(a.mostSum, a.sum)
		}
		a.sum, a.since = 0, time.Now()
		for _, n := range a.now {
			a.sum += n
		}
		a.most = max(a.most, n)
	}
}

// TestMaxRDYF22: no RDY exceeds nsqd's --max-rdy-count, at which nsqd would close the connection.
func TestMaxRDYF22(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const n, most = 500, 10
		s := testnsqd.Start(t, func(o *nsqd.Options) { o.MaxRdyCount = most })
		p := testnsqd.StartProxy(t, s.Addr())
		var rdy rdyWatch
		rdy.watch(0, p)
		book := newLedger()
		c := newConsumer(t, handles(book), nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(32), nsqx.WithMaxInFlight(100))
		publish(t, s, topic, numbered("m", n)...)
		r := start(t, c)
		finished(t, s, c, n)
		r.mustStop()
		if rdy.most > most || rdy.most == 0 || p.Accepted() != 1 || c.Stats().Connections[0].MaxRDY != most {
			t.Errorf("RDYs %v over %d connections, %+v", rdy.sequence, p.Accepted(), c.Stats().Connections[0])
		}
	})
}

// TestPausedChannelF23: pausing a channel or a topic in nsqd is no fault. After the pause, messages
// arrive over the same connection.
func TestPausedChannelF23(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"channel", "topic"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t)
			command := func(do string) { s.Do("/" + what + "/" + do + "?topic=" + topic + "&channel=" + channel) }
			book := newLedger()
			c := newConsumer(t, handles(book), nsqx.WithNSQD(s.Addr()), nsqx.WithConn(quick))
			publish(t, s, topic, []byte("before"))
			r := start(t, c)
			finished(t, s, c, 1)
			command("pause")
			s.Publish(topic, numbered("m", 10)...)
			beats := c.Stats().Connections[0].LastRead
			eventually(t, func() bool { return c.Stats().Connections[0].LastRead.After(beats.Add(beat / 2)) }, "a heartbeat")
			if got := book.handled(); got != 1 {
				t.Errorf("%d messages of a paused %s were handled", got-1, what)
			}
			if err := c.Healthy(); err != nil {
				t.Errorf("healthy: %v", err)
			}
			command("unpause")
			finished(t, s, c, 11)
			r.mustStop()
			if link := c.Stats().Connections[0]; link.Dials != 1 || book.extra() > 0 {
				t.Errorf("connection %+v, %d extra deliveries", link, book.extra())
			}
		})
	}
}

// TestDeletedF24: the channel or its topic is deleted under load. nsqd closes the connection. The
// consumer subscribes again and sends no answers to the deleted messages.
func TestDeletedF24(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"channel", "topic"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			const n = 300
			s := testnsqd.Start(t)
			book, w := newLedger(), new(watch)
			running := make(chan struct{}, n)
			c := newConsumer(t, func(ctx context.Context, body string) error {
				if strings.HasPrefix(body, "old") {
					running <- struct{}{}
					<-ctx.Done()
					return nil // too late
				}
				return handles(book)(ctx, body)
			}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(4), nsqx.WithHooks(w.hooks()))
			publish(t, s, topic, numbered("old", n)...)
			r := start(t, c)
			for range 4 {
				receive(t, running, "handlers")
			}
			s.Do("/" + what + "/delete?topic=" + topic + "&channel=" + channel)
			w.connected(t, 2)
			eventually(t, func() bool { return s.Channel(topic, channel).Clients == 1 }, "the new subscription")
			s.Publish(topic, numbered("new", n)...)
			book.wait(t, n)
			eventually(t, func() bool { return s.Channel(topic, channel).Unfinished() == 0 }, "all to be finished")
			r.mustStop()
			if refused := w.events(&w.refused); len(refused) > 0 || book.extra() > 0 || c.Stats().Lost < 4 {
				t.Errorf("refused %v, %d extra deliveries, %+v", refused, book.extra(), c.Stats())
			}
			w.checkDials(t)
		})
	}
}

// TestEmptiedF24: the channel is emptied while handlers run. nsqd refuses their FINs, and the
// connection stays.
func TestEmptiedF24(t *testing.T) {
	t.Parallel()
	const concurrency = 4
	s := testnsqd.Start(t)
	g, w := newGated(t), new(watch)
	c := newConsumer(t, g.handle, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(concurrency), nsqx.WithMaxInFlight(concurrency), nsqx.WithHooks(w.hooks()))
	publish(t, s, topic, numbered("m", 100)...)
	r := start(t, c)
	for range concurrency {
		receive(t, g.began, "handlers")
	}
	s.Do("/channel/empty?topic=" + topic + "&channel=" + channel)
	close(g.gate)
	// nsqd's in-flight count includes the discarded messages until it has refused their FINs.
	eventually(t, func() bool { return len(w.events(&w.refused)) >= concurrency }, "refused FINs")
	s.Publish(topic, []byte("fresh"))
	for body := ""; body != "fresh"; {
		body = receive(t, g.began, "the next message")
	}
	r.mustStop()
	for _, ev := range w.events(&w.refused) {
		if e, ok := errors.AsType[*conn.ServerError](ev.Err); !ok || e.Code != "E_FIN_FAILED" {
			t.Errorf("refused: %v", ev.Err)
		}
	}
	if link := c.Stats().Connections[0]; link.Dials != 1 || link.InFlight != 0 {
		t.Errorf("connection %+v", link)
	}
}

// TestMoreServersThanInFlightF25: more nsqds than messages in flight. Each is served within ten
// seconds, the sum of RDY never exceeds MaxInFlight, and there is no storm of RDYs, even with empty
// channels.
func TestMoreServersThanInFlightF25(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ servers, maxInFlight int }{{5, 2}, {3, 1}, {4, 2}} {
		t.Run(fmt.Sprintf("%d nsqds, %d in flight", tt.servers, tt.maxInFlight), func(t *testing.T) {
			t.Parallel()
			takeTurns(t, tt.servers, tt.maxInFlight)
		})
	}
}

func takeTurns(t *testing.T, servers, maxInFlight int) {
	const n, bound, rdysPerSecond = 20, 10 * time.Second, 150 // of which turns at their shortest are half
	var all []*testnsqd.Server
	var addrs []string
	var bodies [][]byte
	var rdy rdyWatch
	for i := range servers {
		s := testnsqd.Start(t)
		p := testnsqd.StartProxy(t, s.Addr())
		rdy.watch(i, p)
		fresh := numbered(fmt.Sprint("nsqd", i), n)
		publish(t, s, topic, fresh...)
		all, addrs, bodies = append(all, s), append(addrs, p.Addr()), append(bodies, fresh...)
	}
	book := newLedger()
	c := newConsumer(t, handles(book), nsqx.WithNSQD(addrs...), nsqx.WithMaxInFlight(maxInFlight), nsqx.WithConcurrency(4))
	began := time.Now()
	r := start(t, c)
	left := func() (left []int) {
		for _, s := range all {
			left = append(left, s.Channel(topic, channel).Unfinished())
		}
		return left
	}
	for slices.Max(left()) > 0 && time.Since(began) < bound {
		time.Sleep(5 * time.Millisecond)
	}
	if left := left(); slices.Max(left) > 0 {
		t.Errorf("%v after the start the nsqds have %v messages left", time.Since(began), left)
	} else {
		book.complete(t, bodies)
	}
	time.Sleep(time.Until(began.Add(time.Second))) // count RDYs for a second at least
	r.mustStop()
	rdy.mu.Lock()
	defer rdy.mu.Unlock()
	if book.extra() > 0 || rdy.mostSum > maxInFlight {
		t.Errorf("sum of RDY was %d, %d extra deliveries", rdy.mostSum, book.extra())
	}
	if took := time.Since(began); float64(len(rdy.sequence)) > rdysPerSecond*took.Seconds() {
		t.Errorf("%d RDYs in %v", len(rdy.sequence), took)
	}
}

// TestTooManyConsumersF26: the channel accepts no more consumers. The consumer retries the refused
// SUB, without a storm, until it succeeds.
func TestTooManyConsumersF26(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t, func(o *nsqd.Options) { o.MaxChannelConsumers = 1 })
		first := start(t, newConsumer(t, func(context.Context, string) error { return nil }, nsqx.WithNSQD(s.Addr())))
		eventually(t, func() bool { return s.Channel(topic, channel).Clients == 1 }, "the first consumer")
		p := testnsqd.StartProxy(t, s.Addr())
		book, w := newLedger(), new(watch)
		c := newConsumer(t, handles(book), nsqx.WithNSQD(p.Addr()), nsqx.WithHooks(w.hooks()))
		r := start(t, c)
		eventually(t, func() bool { return len(w.events(&w.dialErrors)) >= 4 }, "four refusals")
		if err := c.Healthy(); !errors.Is(err, nsqx.ErrNoNSQD) || !strings.Contains(err.Error(), "E_SUB_FAILED") {
			t.Errorf("healthy: %v", err)
		}
		select {
		case <-c.Ready():
			t.Error("ready without a subscription")
		default:
		}
		first.mustStop()
		w.connected(t, 1)
		receive(t, c.Ready(), "Ready")
		publish(t, s, topic, []byte("m"))
		finished(t, s, c, 1)
		r.mustStop()
		for _, ev := range w.events(&w.dialErrors) {
			e, ok := errors.AsType[*conn.Error](ev.Err)
			se, isServer := errors.AsType[*conn.ServerError](ev.Err)
			if !ok || e.Phase != conn.PhaseSubscribe || e.Permanent() || !isServer || se.Code != "E_SUB_FAILED" {
				t.Errorf("dial error %v", ev.Err)
			}
		}
		w.checkDials(t)
		if p.Accepted() > 9 {
			t.Errorf("%d dials", p.Accepted())
		}
	})
}

// TestBackoffMeetsFlappingF27: all messages fail, so the breaker opens. Meanwhile connections are
// cut, so at times none can carry a probe. Only probes are requested, and after recovery everything
// is handled.
func TestBackoffMeetsFlappingF27(t *testing.T) {
	t.Parallel()
	const n = 100
	random := seeded(t)
	s := testnsqd.Start(t, messageTimeout(time.Second))
	p := testnsqd.StartProxy(t, s.Addr())
	var broken atomic.Bool
	broken.Store(true)
	var runs atomic.Int64
	book, w := newLedger(), new(watch)
	c := newConsumer(t, func(ctx context.Context, body string) error {
		runs.Add(1)
		if broken.Load() {
			return errFailed
		}
		return handles(book)(ctx, body)
	}, nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(4), nsqx.WithHooks(w.hooks()), at(0),
		nsqx.WithBackoff(nsqx.Backoff{First: 300 * time.Millisecond, Max: time.Second}))
	publish(t, s, topic, numbered("m", n)...)
	r := start(t, c)
	eventually(t, func() bool { return c.Stats().Backoff }, "the breaker to open")
	before := runs.Load()
	for range 5 {
		time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
		p.Cut()
		eventually(t, func() bool { return !c.Stats().Connections[0].Connected }, "the cut")
		if !c.Stats().Backoff {
			t.Error("a cut has closed the breaker")
		}
	}
	if got := runs.Load() - before; got > 40 {
		t.Errorf("%d messages were tried in the backoff", got)
	}
	broken.Store(false)
	book.wait(t, n)
	eventually(t, func() bool { return !c.Stats().Backoff && s.Channel(topic, channel).Unfinished() == 0 }, "the breaker to close")
	r.mustStop()
	w.checkDials(t)
}

// TestRequeueDelayClampedF21: nsqd shortens a delay above its --max-req-timeout, and the connection
// stays.
func TestRequeueDelayClampedF21(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const most = 300 * time.Millisecond
		s := testnsqd.Start(t, func(o *nsqd.Options) { o.MaxReqTimeout = most })
		book := newLedger()
		c := newConsumer(t, func(ctx context.Context, body string) error {
			if len(book.of(body)) == 0 {
				book.begin(ctx, body)
				return retry.After(30*time.Minute, errFailed)
			}
			return handles(book)(ctx, body)
		}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(1))
		publish(t, s, topic, []byte("m"))
		r := start(t, c)
		finished(t, s, c, 1)
		r.mustStop()
		d := book.of("m")
		if len(d) != 2 || d[1].at.Sub(d[0].at) < most || c.Stats().Connections[0].Dials != 1 {
			t.Errorf("deliveries %+v, stats %+v", d, c.Stats())
		}
	})
}

// TestOneHangsF18: a handler that never returns does not block the others.
func TestOneHangsF18(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const n = 200
		s := testnsqd.Start(t)
		book, g := newLedger(), newGated(t)
		c := newConsumer(t, func(ctx context.Context, body string) error {
			if body == "hangs" {
				return g.handle(ctx, body)
			}
			return handles(book)(ctx, body)
		}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(2), nsqx.WithShutdownTimeout(50*time.Millisecond))
		publish(t, s, topic, append([][]byte{[]byte("hangs")}, numbered("m", n)...)...)
		r := start(t, c)
		receive(t, g.began, "the handler that hangs")
		book.wait(t, n)
		eventually(t, func() bool { return s.Channel(topic, channel).Unfinished() == 1 }, "the others to be finished")
		err := r.stop()
		if e, ok := errors.AsType[*nsqx.ShutdownError](err); !ok || e.Running != 1 || len(e.Abandoned) != 1 || !e.Abandoned[0].Requeued {
			t.Errorf("Run: %v", err)
		}
		close(g.gate)
		if left := collect(t, s, topic, channel, 1); left[0] != "hangs" || book.extra() > 0 {
			t.Errorf("%q left, %d extra deliveries", left, book.extra())
		}
	})
}
