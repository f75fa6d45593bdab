package e2e

import (
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestCutsAtAnyMomentF2: connections are cut in any state, even during a dial or a handshake.
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

// TestCutIdleF2: an idle connection is cut, and the next message arrives nevertheless.
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
				finished(t, s, c, i+1) // else the cut would lose its FIN
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

// TestAwayForASecond: nsqd stops for a second. Two seconds after its return, messages are handled
// again.
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
		time.Sleep(time.Second) // the outage
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
