package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/observe"
)

// checkDials fails the test unless, for each address, dials were as far apart
// as the backoff demands, which begins with 100 ms and doubles: no storm. It is
// for consumers whose connections lived for less than 10 s, which would begin
// it anew, and whose addresses no lookupd has named again.
func (w *watch) checkDials(tb testing.TB) {
	tb.Helper()
	type attempt struct {
		observe.ConnEvent
		failed bool
	}
	byAddr := make(map[string][]attempt)
	for _, list := range []*[]observe.ConnEvent{&w.connects, &w.disconnects, &w.dialErrors} {
		for _, ev := range w.events(list) {
			byAddr[ev.NSQD] = append(byAddr[ev.NSQD], attempt{ev, list != &w.connects})
		}
	}
	for addr, attempts := range byAddr {
		slices.SortStableFunc(attempts, func(a, b attempt) int { return a.Time.Compare(b.Time) })
		failures := 0
		var next time.Time
		for _, a := range attempts {
			if a.Time.Before(next) {
				tb.Errorf("%s was dialled %v before its time", addr, next.Sub(a.Time))
			}
			if !a.failed || a.Retry == 0 { // the end of the test has no next dial
				next = time.Time{}
				continue
			}
			next = a.Time.Add(a.Retry)
			if least := min(50*time.Millisecond<<min(failures, 10), 3*time.Second); a.Retry < least {
				tb.Errorf("failure %d of %s: the next dial after %v, want %v at least", failures+1, addr, a.Retry, least)
			}
			failures++
		}
	}
}

// connectedAgain waits until all connections of c are there.
func connectedAgain(tb testing.TB, c interface{ Stats() nsqx.Stats }) {
	tb.Helper()
	eventually(tb, func() bool {
		return !slices.ContainsFunc(c.Stats().Connections, func(s observe.ConnStats) bool { return !s.Connected })
	}, "all connections")
}

// handles is the plainest handler.
func handles(book *ledger) func(ctx context.Context, body string) error {
	return func(ctx context.Context, body string) error {
		book.begin(ctx, body)
		book.succeed(body)
		return nil
	}
}

// TestCutsAtAnyMomentF2: connections are cut in whatever state they are, in
// the middle of a dial or a handshake too.
func TestCutsAtAnyMomentF2(t *testing.T) {
	t.Parallel()
	const links, n = 4, 2000
	random := seeded(t)
	s := testnsqd.Start(t, messageTimeout(time.Second))
	var proxies []*testnsqd.Proxy
	var addrs []string
	for range links {
		p := testnsqd.StartProxy(t, s.Addr())
		proxies, addrs = append(proxies, p), append(addrs, p.Addr())
	}
	book, w := newLedger(), new(watch)
	c := newConsumer(t, unreliable(book), nsqx.WithNSQD(addrs...), nsqx.WithHooks(w.hooks()), at(5*time.Millisecond))
	bodies := numbered("m", n)
	publish(t, s, topic, bodies...)
	r := start(t, c)
	cuts := 0
	for end := time.Now().Add(testnsqd.Stress(t)); time.Now().Before(end); cuts++ {
		time.Sleep(time.Duration(random.IntN(5000)) * time.Microsecond)
		if p := proxies[random.IntN(links)]; random.IntN(2) == 0 {
			p.Cut()
		} else {
			p.Reset()
		}
	}
	publish(t, s, topic, []byte("last"))
	book.wait(t, n+1)
	finished(t, s, c, n+1)
	connectedAgain(t, c)
	r.mustStop()
	book.complete(t, append(bodies, []byte("last")))
	w.checkDials(t)
	st := s.Channel(topic, channel)
	if extra := book.extra(); extra > int(st.TimedOut+st.Requeued) {
		t.Errorf("%d messages came again, nsqd says %+v", extra, st)
	}
	t.Logf("%d cuts, %d connections, %d extra deliveries", cuts, len(w.events(&w.connects)), book.extra())
}

// TestCutIdleF2: a connection with nothing to do is cut, and the next
// message comes all the same.
func TestCutIdleF2(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*testnsqd.Proxy){"FIN": (*testnsqd.Proxy).Cut, "RST": (*testnsqd.Proxy).Reset} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t)
			p := testnsqd.StartProxy(t, s.Addr())
			book, w := newLedger(), new(watch)
			c := newConsumer(t, handles(book), nsqx.WithNSQD(p.Addr()), nsqx.WithHooks(w.hooks()))
			r := start(t, c)
			w.connected(t, 1)
			for i := range 3 {
				cut(p)
				w.connected(t, i+2)
				publish(t, s, topic, numbered("m", i+1)[i])
				book.wait(t, i+1)
				finished(t, s, c, i+1) // else its FIN would be cut off
			}
			r.mustStop()
			if book.extra() > 0 || p.Accepted() != 4 {
				t.Errorf("%d extra deliveries, %d dials", book.extra(), p.Accepted())
			}
			for _, ev := range w.events(&w.disconnects)[:3] {
				if ev.Err == nil || ev.Retry == 0 {
					t.Errorf("disconnect %+v", ev)
				}
			}
			w.checkDials(t)
		})
	}
}

// TestAwayForASecond: nsqd is gone for a second. Two seconds after it is back,
// messages are handled again.
func TestAwayForASecond(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		const slack = time.Second
		s := testnsqd.Start(t)
		book, w := newLedger(), new(watch)
		c := newConsumer(t, handles(book), nsqx.WithNSQD(s.Addr()), nsqx.WithHooks(w.hooks()))
		r := start(t, c)
		w.connected(t, 1)
		publish(t, s, topic, []byte("before"))
		finished(t, s, c, 1)
		s.Stop()
		time.Sleep(time.Second) // this is the fault
		if err := c.Healthy(); err == nil {
			t.Error("healthy without its nsqd")
		}
		s.Restart()
		back := time.Now()
		publish(t, s, topic, []byte("after"))
		book.wait(t, 2)
		if took := time.Since(back); took > 2*time.Second+slack {
			t.Errorf("the next message was handled %v after the return", took)
		} else {
			t.Logf("the next message was handled %v after the return", took)
		}
		finishedSince(t, s, 1)
		if err := c.Healthy(); err != nil {
			t.Errorf("healthy: %v", err)
		}
		r.mustStop()
		w.checkDials(t)
		if dials := c.Stats().Connections[0].Dials; dials > 8 {
			t.Errorf("%d dials", dials)
		}
	})
}

// finishedSince waits until n messages, which are all since nsqd has started,
// are finished.
func finishedSince(tb testing.TB, s *testnsqd.Server, n uint64) {
	tb.Helper()
	eventually(tb, func() bool {
		st := s.Channel(topic, channel)
		return st.Messages == n && st.Unfinished() == 0
	}, "%d messages to be finished", n)
}

// stopsWithin ends a consumer that has nothing to finish, which takes no longer
// than d.
func stopsWithin(tb testing.TB, r *running, d time.Duration) {
	tb.Helper()
	began := time.Now()
	r.mustStop()
	if took := time.Since(began); took > d {
		tb.Errorf("Run returned after %v, want %v at most", took, d)
	}
}
