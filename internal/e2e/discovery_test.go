package e2e

import (
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqlookupd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestTopicAppears: the topic does not exist yet, which is no failure. Its first message is
// handled.
func TestTopicAppears(t *testing.T) {
	t.Parallel()
	a, b := testnsqd.StartLookupd(t), testnsqd.StartLookupd(t)
	s := testnsqd.Start(t, a.Register, b.Register)
	book, w := newLedger(), new(watch)
	c := newConsumer(t, handles(book), nsqx.WithLookupd(a.HTTPAddr(), "http://"+b.HTTPAddr()), soon, nsqx.WithHooks(w.hooks()))
	if err := c.Healthy(); err != nsqx.ErrNotRunning {
		t.Errorf("healthy before Run: %v", err)
	}
	r := start(t, c)
	receive(t, c.Ready(), "Ready")
	polled(t, c, 3)
	if err := c.Healthy(); err != nil || len(c.Stats().Connections) > 0 {
		t.Errorf("healthy: %v, connections %+v", err, c.Stats().Connections)
	}
	s.Publish(topic, []byte("first"))
	book.wait(t, 1)
	finished(t, s, c, 1)
	polled(t, c, 2)
	if err := c.Healthy(); err != nil || !slices.Equal(addresses(c), []string{s.Addr()}) {
		t.Errorf("healthy: %v, connections %+v", err, c.Stats().Connections)
	}
	for _, l := range c.Stats().Lookups {
		if l.Errors > 0 || l.LastErr != nil || l.Found != 1 {
			t.Errorf("lookup %+v", l)
		}
	}
	r.mustStop()
	if err := c.Healthy(); err != nsqx.ErrNotRunning {
		t.Errorf("healthy after Run: %v", err)
	}
	if s.Clients() > 0 || len(w.events(&w.connects)) != 1 {
		t.Errorf("connects %v", w.events(&w.connects))
	}
}

// TestLookupdDownF28: one nsqlookupd stops, then all. Connections stay, lost ones are redialled,
// and the failures are counted.
func TestLookupdDownF28(t *testing.T) {
	t.Parallel()
	a, b := testnsqd.StartLookupd(t), testnsqd.StartLookupd(t)
	s := testnsqd.Start(t, a.Register, b.Register)
	publish(t, s, topic, []byte("m-0"))
	book, w := newLedger(), new(watch)
	c := newConsumer(t, handles(book), nsqx.WithLookupd(a.HTTPAddr(), b.HTTPAddr()), soon, nsqx.WithHooks(w.hooks()))
	r := start(t, c)
	book.wait(t, 1)
	for i, l := range []*testnsqd.Lookupd{a, b} {
		polled(t, c, 1)
		l.Stop()
		polled(t, c, 5)
		s.Publish(topic, numbered("m", i+2)[i+1])
		book.wait(t, i+2)
		if l := c.Stats().Lookups[i]; l.Errors < 4 || l.LastErr == nil || l.Found != 1 {
			t.Errorf("lookup %+v", l)
		}
		if err := c.Healthy(); err != nil {
			t.Errorf("healthy: %v", err)
		}
	}
	finished(t, s, c, 3)
	if n := len(w.events(&w.connects)); n != 1 || len(w.events(&w.disconnects)) > 0 {
		t.Errorf("%d connections", n)
	}
	// nsqd restarts, too. Only nsqx still knows its address.
	s.Restart()
	w.connected(t, 2)
	s.Publish(topic, []byte("m-3"))
	book.wait(t, 4)
	r.mustStop()
}

// TestLookupdDownAtStartF28: no nsqlookupd answers, so no address is known. The consumer is neither
// ready nor healthy until one answers.
func TestLookupdDownAtStartF28(t *testing.T) {
	t.Parallel()
	l := testnsqd.StartLookupd(t)
	l.Stop()
	book := newLedger()
	c := newConsumer(t, handles(book), nsqx.WithLookupd(l.HTTPAddr()), soon)
	r := start(t, c)
	eventually(t, func() bool { return c.Stats().Lookups[0].Errors >= 3 }, "polls that fail")
	select {
	case <-c.Ready():
		t.Error("ready without an answer")
	default:
	}
	if err := c.Healthy(); !errors.Is(err, nsqx.ErrNoNSQD) {
		t.Errorf("healthy: %v", err)
	}
	l.Restart()
	s := testnsqd.Start(t, l.Register)
	publish(t, s, topic, []byte("m"))
	book.wait(t, 1)
	receive(t, c.Ready(), "Ready")
	if err := c.Healthy(); err != nil {
		t.Errorf("healthy: %v", err)
	}
	r.mustStop()
}

// TestLookupdRestartedF29: (L13) a restarted nsqlookupd knows nothing for longer than it takes to
// forget an address. No connection ends.
func TestLookupdRestartedF29(t *testing.T) {
	t.Parallel()
	l := testnsqd.StartLookupd(t)
	s := testnsqd.Start(t, l.Register)
	publish(t, s, topic, []byte("before"))
	book, w := newLedger(), new(watch)
	c := newConsumer(t, handles(book), nsqx.WithLookupd(l.HTTPAddr()), soon, nsqx.WithHooks(w.hooks()))
	r := start(t, c)
	book.wait(t, 1)
	l.Restart()
	eventually(t, func() bool { return c.Stats().Lookups[0].Found == 0 }, "an answer that knows nothing")
	polled(t, c, 5)
	s.Publish(topic, []byte("meanwhile"))
	book.wait(t, 2)
	s.Kick()
	eventually(t, func() bool { return c.Stats().Lookups[0].Found == 1 }, "nsqd to be known again")
	polled(t, c, 2)
	s.Publish(topic, []byte("after"))
	book.wait(t, 3)
	finished(t, s, c, 3)
	if n := len(w.events(&w.connects)); n != 1 || len(w.events(&w.disconnects)) > 0 || len(w.events(&w.dialErrors)) > 0 {
		t.Errorf("%d connections, %v, %v", n, w.events(&w.disconnects), w.events(&w.dialErrors))
	}
	r.mustStop()
}

// TestDeadServerListedF30: nsqlookupd still names a stopped nsqd. It is dialled no more often than
// its backoff allows, and the other one is served.
func TestDeadServerListedF30(t *testing.T) {
	t.Parallel()
	l := testnsqd.StartLookupd(t)
	alive, dead := testnsqd.Start(t, l.Register), testnsqd.Start(t, l.Register)
	for _, s := range []*testnsqd.Server{alive, dead} {
		publish(t, s, topic, []byte("on "+s.Addr()))
	}
	book, w := newLedger(), new(watch)
	c := newConsumer(t, handles(book), nsqx.WithLookupd(l.HTTPAddr()), soon, nsqx.WithHooks(w.hooks()))
	r := start(t, c)
	book.wait(t, 2)
	finished(t, alive, c, 1)
	stopped := dead.NSQD() // keeps its connection to nsqlookupd open
	defer runtime.KeepAlive(stopped)
	dead.Stop()
	eventually(t, func() bool { return len(w.events(&w.dialErrors)) >= 3 }, "dials that fail")
	polled(t, c, 5)
	if got := c.Stats().Lookups[0].Found; got != 2 {
		t.Fatalf("nsqlookupd names %d nsqds", got)
	}
	publish(t, alive, topic, []byte("more"))
	book.wait(t, 3)
	if err := c.Healthy(); err != nil {
		t.Errorf("healthy: %v", err)
	}
	w.checkDials(t)
	dead.Restart()
	w.connected(t, 3)
	r.mustStop()
}

// TestServerListedTwiceF30: nsqlookupd names a restarted nsqd twice, and another nsqlookupd and
// WithNSQD name it too. It gets one connection.
func TestServerListedTwiceF30(t *testing.T) {
	t.Parallel()
	a, b := testnsqd.StartLookupd(t), testnsqd.StartLookupd(t)
	s := testnsqd.Start(t, a.Register, b.Register)
	s.EnsureChannel(topic, channel)
	s.Restart()
	book, w := newLedger(), new(watch)
	c := newConsumer(t, handles(book), nsqx.WithNSQD(s.Addr()), nsqx.WithLookupd(a.HTTPAddr(), b.HTTPAddr()), soon, nsqx.WithHooks(w.hooks()))
	r := start(t, c)
	publish(t, s, topic, []byte("m"))
	finished(t, s, c, 1)
	polled(t, c, 3)
	if n := s.Channel(topic, channel).Clients; n != 1 || !slices.Equal(addresses(c), []string{s.Addr()}) {
		t.Errorf("%d clients, addresses %v", n, addresses(c))
	}
	r.mustStop()
	if w.checkDials(t); len(w.events(&w.connects)) != 1 {
		t.Errorf("connects %v", w.events(&w.connects))
	}
}

// TestServerMovesF32: an nsqd restarts on another port. The new address is discovered, and the old
// one is dialled once a minute.
func TestServerMovesF32(t *testing.T) {
	t.Parallel()
	l := testnsqd.StartLookupd(t, func(o *nsqlookupd.Options) { o.InactiveProducerTimeout = 300 * time.Millisecond })
	s := testnsqd.Start(t, l.Register)
	publish(t, s, topic, []byte("before"))
	book, w := newLedger(), new(watch)
	c := newConsumer(t, handles(book), nsqx.WithLookupd(l.HTTPAddr()), soon, nsqx.WithHooks(w.hooks()))
	r := start(t, c)
	book.wait(t, 1)
	finished(t, s, c, 1)
	old := s.Addr()
	s.Move()
	if s.Addr() == old {
		t.Fatalf("still at %s", old)
	}
	s.Publish(topic, []byte("after"))
	book.wait(t, 2)
	eventually(t, func() bool {
		for _, s := range c.Stats().Connections {
			if s.Addr == old {
				return time.Until(s.RetryAt) > 20*time.Second
			}
		}
		return false
	}, "%s to be dialled rarely", old)
	polled(t, c, 2) // hooks are called a moment after Stats has changed
	failures := len(w.events(&w.dialErrors))
	polled(t, c, 5)
	if got := len(w.events(&w.dialErrors)); got != failures {
		t.Errorf("%d dials of an address that nobody names", got-failures)
	}
	// nsqlookupd forgets the nsqd, too, which pings only every 15 s. Its connection stays.
	publish(t, s, topic, []byte("last"))
	book.wait(t, 3)
	if n := len(w.events(&w.connects)); n != 2 {
		t.Errorf("%d connections", n)
	}
	r.mustStop()
}
