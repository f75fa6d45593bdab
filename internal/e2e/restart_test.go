package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/retry"
)

// TestRestartsF3: nsqd is quiesced and restarted under load, so it loses nothing itself. Every
// message is handled, and only messages in flight or requeued arrive more than once. (I1, I3, I4)
func TestRestartsF3(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	for began, round := time.Now(), 0; round == 0 || time.Since(began) < testnsqd.Stress(t); round++ {
		steady(t, func(t testing.TB) { restarts(t, random) })
	}
}

func restarts(t testing.TB, random *rand.Rand) {
	const restarts, batch, concurrency, maxInFlight = 4, 500, 8, 32
	s := testnsqd.Start(t) // message timeout 60 s
	p := testnsqd.StartProxy(t, s.Addr())
	book, w := newLedger(), new(watch)
	c := newConsumer(t, unreliable(book), nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(concurrency),
		nsqx.WithMaxInFlight(maxInFlight), nsqx.WithHooks(w.hooks()), at(5*time.Millisecond))
	r := start(t, c)
	var bodies [][]byte
	for i := range restarts {
		fresh := numbered(fmt.Sprint("batch", i), batch)
		publish(t, s, topic, fresh...)
		bodies = append(bodies, fresh...)
		book.wait(t, i*batch+random.IntN(batch))
		s.QuiescedRestart(p)
		w.connected(t, i+2)
	}
	book.wait(t, restarts*batch)
	eventually(t, func() bool { return s.Channel(topic, channel).Unfinished() == 0 }, "all messages to be finished")
	r.mustStop()

	book.complete(t, bodies)
	stats := c.Stats()
	if extra, most := book.extra(), restarts*maxInFlight+int(stats.Requeued); extra > most {
		t.Errorf("%d messages came again, want %d at most", extra, most)
	}
	if link := stats.Connections[0]; link.Refused > 0 {
		t.Errorf("nsqd refused answers %d times: %v", link.Refused, w.events(&w.refused))
	}
	t.Logf("%d extra deliveries, %d requeued, %d lost", book.extra(), stats.Requeued, stats.Lost)
}

// TestCutsF2: connections are cut 100 times at random moments under load, with FIN and with RST.
// Every message is handled, and no connection is dialled more often than it was cut. (I1, I3, I4,
// I7)
func TestCutsF2(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	for began, round := time.Now(), 0; round == 0 || time.Since(began) < testnsqd.Stress(t); round++ {
		steady(t, func(t testing.TB) { cuts(t, random) })
	}
}

func cuts(t testing.TB, random *rand.Rand) {
	const (
		cuts, links, batch = 100, 25, 45 // many, because each redial of a connection waits longer
		maxInFlight        = 60
	)
	s := testnsqd.Start(t, messageTimeout(2*time.Second))
	var proxies []*testnsqd.Proxy
	var addrs []string
	for range links {
		p := testnsqd.StartProxy(t, s.Addr())
		proxies, addrs = append(proxies, p), append(addrs, p.Addr())
	}
	book, w := newLedger(), new(watch)
	c := newConsumer(t, unreliable(book), nsqx.WithNSQD(addrs...), nsqx.WithConcurrency(8),
		nsqx.WithMaxInFlight(maxInFlight), nsqx.WithHooks(w.hooks()), at(5*time.Millisecond))
	r := start(t, c)
	w.connected(t, 1)
	var bodies [][]byte
	for i := range cuts {
		fresh := numbered(fmt.Sprint("batch", i), batch)
		publish(t, s, topic, fresh...)
		bodies = append(bodies, fresh...)
		link := i % links
		eventually(t, func() bool { return c.Stats().Connections[link].Connected }, "connection %d", link)
		time.Sleep(time.Duration(random.IntN(8000)) * time.Microsecond)
		if random.IntN(2) == 0 {
			proxies[link].Cut()
		} else {
			proxies[link].Reset()
		}
	}
	book.wait(t, cuts*batch)
	finished(t, s, c, cuts*batch)
	for i := range links {
		eventually(t, func() bool { return c.Stats().Connections[i].Connected }, "connection %d to be back", i)
	}
	r.mustStop()

	book.complete(t, bodies)
	st, stats := s.Channel(topic, channel), c.Stats()
	if extra := book.extra(); extra > int(st.TimedOut+st.Requeued) || st.TimedOut > cuts*maxInFlight {
		t.Errorf("%d messages came again, nsqd says %+v", extra, st)
	}
	if n := len(w.events(&w.disconnects)); n != cuts+links { // plus those at the end
		t.Errorf("%d disconnects, want %d", n, cuts+links)
	}
	if refused := w.events(&w.refused); len(refused) > 0 {
		t.Errorf("nsqd refused %v", refused)
	}
	for _, p := range proxies {
		if p.Accepted() != cuts/links+1 {
			t.Errorf("%d dials for %d cuts", p.Accepted(), cuts/links)
		}
	}
	w.checkDials(t)
	t.Logf("%d extra deliveries, %d requeued, %d timed out, %d lost", book.extra(), st.Requeued, st.TimedOut, stats.Lost)
}

// TestRestartRedeliversF3: after a restart, messages in flight are delivered again at once, and so
// are deferred ones: nsqd keeps no timers on disk. Both count as attempts.
func TestRestartRedeliversF3(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	p := testnsqd.StartProxy(t, s.Addr())
	book := newLedger()
	running := make(chan struct{}, 1)
	c := newConsumer(t, func(ctx context.Context, body string) error {
		book.begin(ctx, body)
		switch first := handler.FromContext(ctx).Attempts == 1; {
		case first && body == "deferred":
			return retry.After(time.Hour, nil)
		case first:
			running <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
		book.succeed(body)
		return nil
	}, nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(2))
	publish(t, s, topic, []byte("deferred"), []byte("in flight"))
	r := start(t, c)
	receive(t, running, "the handler")
	eventually(t, func() bool { return s.Channel(topic, channel).Deferred == 1 }, "a deferred message")
	s.QuiescedRestart(p)
	book.wait(t, 2)
	eventually(t, func() bool { return s.Channel(topic, channel).Unfinished() == 0 }, "both to be finished")
	r.mustStop()
	for _, body := range []string{"deferred", "in flight"} {
		if d := book.of(body); len(d) != 2 || d[1].attempts != 2 {
			t.Errorf("deliveries of %q: %+v", body, d)
		}
	}
}

// TestAbruptRestartsF4: nsqd is restarted while busy and may lose messages itself; the test logs
// how many. The remaining ones are handled.
func TestAbruptRestartsF4(t *testing.T) {
	t.Parallel()
	const restarts, batch, concurrency, maxInFlight = 4, 300, 8, 32
	random := seeded(t)
	s := testnsqd.Start(t, messageTimeout(2*time.Second))
	book, w := newLedger(), new(watch)
	var running, most atomic.Int64
	work := unreliable(book)
	c := newConsumer(t, func(ctx context.Context, body string) error {
		now := running.Add(1)
		defer running.Add(-1)
		for top := most.Load(); now > top && !most.CompareAndSwap(top, now); top = most.Load() {
		}
		return work(ctx, body)
	}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(concurrency), nsqx.WithMaxInFlight(maxInFlight), nsqx.WithHooks(w.hooks()), at(5*time.Millisecond))
	r := start(t, c)
	for i := range restarts {
		w.connected(t, i+1)
		publish(t, s, topic, numbered(fmt.Sprint("batch", i), batch)...)
		time.Sleep(time.Duration(random.IntN(5000)) * time.Microsecond)
		s.Restart()
	}
	w.connected(t, restarts+1)
	fresh := numbered("fresh", batch)
	publish(t, s, topic, fresh...)
	eventually(t, func() bool {
		for _, b := range fresh {
			if !book.has(string(b)) {
				return false
			}
		}
		return s.Channel(topic, channel).Unfinished() == 0
	}, "all that is left to be handled")
	r.mustStop()
	stats := c.Stats()
	book.mu.Lock()
	successes := 0
	for _, n := range book.successes {
		successes += n
	}
	book.mu.Unlock()
	if int(stats.Finished) > successes || most.Load() > concurrency {
		t.Errorf("%d successes, %d handlers at once, stats %+v", successes, most.Load(), stats)
	}
	if refused := w.events(&w.refused); len(refused) > 0 {
		t.Errorf("nsqd refused %v", refused)
	}
	w.checkDials(t)
	t.Logf("%d of %d messages were handled: nsqd has lost the others", book.handled(), (restarts+1)*batch)
}
