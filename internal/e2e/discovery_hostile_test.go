package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestLookupdsDisagreeF31: each nsqlookupd knows another nsqd, and one answers with hostile data.
// The consumer uses the union, and hostile data ends no connection.
func TestLookupdsDisagreeF31(t *testing.T) {
	t.Parallel()
	real := testnsqd.StartLookupd(t)
	a, b, moved := testnsqd.Start(t, real.Register), testnsqd.Start(t), testnsqd.Start(t)
	for _, s := range []*testnsqd.Server{a, b, moved} {
		publish(t, s, topic, []byte("on "+s.Addr()))
	}
	names := startLookupAnswer(t, naming(b.Addr()))
	hostile := startLookupAnswer(t, naming(moved.Addr()))
	book, w := newLedger(), new(watch)
	c := newConsumer(t, handles(book), nsqx.WithLookupd(real.HTTPAddr(), names.URL, hostile.URL), soon, nsqx.WithHooks(w.hooks()))
	r := start(t, c)
	book.wait(t, 3)
	var redirected atomic.Int64
	trap := startLookupAnswer(t, func(w http.ResponseWriter, _ *http.Request) { redirected.Add(1) })
	for name, answer := range map[string]http.HandlerFunc{
		"L1: HTML":             saying(http.StatusOK, "<html>welcome</html>"),
		"L1: empty":            saying(http.StatusOK, ""),
		"L1: cut":              saying(http.StatusOK, `{"producers":[{"broadcast_address":"127.`),
		"L1: null":             saying(http.StatusOK, "null"),
		"L2: large":            saying(http.StatusOK, `{"producers":[`+strings.Repeat(`{},`, 1<<20)+`{}]}`),
		"L3: 500":              saying(http.StatusInternalServerError, ""),
		"L3: redirect":         func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, trap.URL, http.StatusFound) },
		"L5: reset":            func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"L7, L8: no addresses": saying(http.StatusOK, `{"producers":[{"broadcast_address":"a b","tcp_port":4150},{"broadcast_address":"127.0.0.1","tcp_port":0},{"tcp_port":70000}]}`),
		"L13: no producers":    saying(http.StatusOK, `{"producers":[]}`),
		"404":                  saying(http.StatusNotFound, `{"message":"TOPIC_NOT_FOUND"}`),
	} {
		hostile.set(answer)
		before := hostile.polls.Load()
		eventually(t, func() bool { return hostile.polls.Load() >= before+4 }, "polls of %s", name)
		if err := c.Healthy(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i, s := range []*testnsqd.Server{a, b, moved} {
		publish(t, s, topic, []byte("again on "+s.Addr()))
		book.wait(t, 4+i)
	}
	if n := len(w.events(&w.connects)); n != 3 || len(w.events(&w.disconnects))+len(w.events(&w.dialErrors)) > 0 || redirected.Load() > 0 {
		t.Errorf("%d connections, %v, %v, %d redirects", n, w.events(&w.disconnects), w.events(&w.dialErrors), redirected.Load())
	}
	st := c.Stats()
	if l := st.Lookups[2]; l.Errors < 8 || st.Lookups[0].Errors+st.Lookups[1].Errors > 0 {
		t.Errorf("lookups %+v", st.Lookups)
	}
	r.mustStop()
}

// TestSilentLookupdF31: (L4) an nsqlookupd that never answers delays neither the others nor the
// shutdown.
func TestSilentLookupdF31(t *testing.T) {
	t.Parallel()
	real := testnsqd.StartLookupd(t)
	s := testnsqd.Start(t, real.Register)
	publish(t, s, topic, []byte("m"))
	silent := startLookupAnswer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	book := newLedger()
	c := newConsumer(t, handles(book), nsqx.WithLookupd(silent.URL, real.HTTPAddr()), soon)
	r := start(t, c)
	book.wait(t, 1)
	eventually(t, func() bool { return silent.polls.Load() > 0 }, "the silent one to be asked")
	finished(t, s, c, 1)
	stopsWithin(t, r, slack)
}

// TestThousandProducersF33: an nsqlookupd names 1000 nsqds, only one of which exists. Addresses
// beyond the bound are not dialled, and an error reports them.
func TestThousandProducersF33(t *testing.T) {
	t.Parallel()
	const most = 20
	s := testnsqd.Start(t)
	publish(t, s, topic, []byte("m"))
	addrs := []string{s.Addr()}
	for i := range 1000 {
		addrs = append(addrs, fmt.Sprintf("127.1.%d.%d:9", i/200, i%200+1))
	}
	l := startLookupAnswer(t, naming(addrs...))
	var open, highest, dials atomic.Int64
	var dialer net.Dialer
	book, w := newLedger(), new(watch)
	c := newConsumer(t, handles(book), nsqx.WithLookupd(l.URL), soon, nsqx.WithMaxNSQDs(most), nsqx.WithHooks(w.hooks()),
		nsqx.WithConn(conn.Config{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			highest.Store(max(highest.Load(), open.Add(1)))
			defer open.Add(-1)
			return dialer.DialContext(ctx, network, addr)
		}}))
	r := start(t, c)
	book.wait(t, 1)
	polled(t, c, 5)
	st := c.Stats()
	if len(st.Connections) != most || !slices.Contains(addresses(c), s.Addr()) || highest.Load() > most {
		t.Errorf("%d addresses, %d dials at once", len(st.Connections), highest.Load())
	}
	if got := st.Lookups[0].LastErr; got == nil || !strings.Contains(got.Error(), "WithMaxNSQDs") {
		t.Errorf("lookup %+v", st.Lookups[0])
	}
	r.mustStop()
	w.checkDials(t)
	if got := dials.Load(); got > most*8 {
		t.Errorf("%d dials", got)
	}
}

// TestFilter: an address that the filter rejects is not dialled.
func TestFilter(t *testing.T) {
	t.Parallel()
	good, bad := testnsqd.Start(t), testnsqd.Start(t)
	trap := testnsqd.StartProxy(t, bad.Addr())
	publish(t, good, topic, []byte("m"))
	l := startLookupAnswer(t, naming(trap.Addr(), good.Addr()))
	book := newLedger()
	c := newConsumer(t, handles(book), nsqx.WithLookupd(l.URL), soon,
		nsqx.WithNSQDFilter(func(addr string) bool { return addr != trap.Addr() }))
	r := start(t, c)
	finished(t, good, c, 1)
	polled(t, c, 3)
	r.mustStop()
	if trap.Accepted() > 0 {
		t.Errorf("%d dials of what is not allowed", trap.Accepted())
	}
}

// TestNamedAgain: an nsqd that nsqlookupd names again is dialled at once, despite its backoff.
func TestNamedAgain(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t)
		p := testnsqd.StartProxy(t, s.Addr())
		publish(t, s, topic, []byte("m"))
		p.Refuse()
		l := startLookupAnswer(t, naming(p.Addr()))
		book, w := newLedger(), new(watch)
		c := newConsumer(t, handles(book), nsqx.WithLookupd(l.URL), soon, nsqx.WithHooks(w.hooks()))
		r := start(t, c)
		eventually(t, func() bool { return len(w.events(&w.dialErrors)) >= 5 }, "five failed dials")
		p.Allow()
		l.set(naming())
		before := c.Stats().Lookups[0].Polls
		eventually(t, func() bool { return c.Stats().Lookups[0].Found == 0 && c.Stats().Lookups[0].Polls > before }, "an answer without it")
		l.set(naming(p.Addr()))
		named := time.Now()
		book.wait(t, 1)
		if took := time.Since(named); took > 1200*time.Millisecond { // the next backoff would be 1.6 s at least
			t.Errorf("%v until it was dialled", took)
		}
		r.mustStop()
	})
}

// TestNamedWhileDialling: an nsqd is named again during a dial. That does not shorten the backoff
// when the connection is lost later.
func TestNamedWhileDialling(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	p := testnsqd.StartProxy(t, s.Addr())
	l := startLookupAnswer(t, naming(p.Addr()))
	dialling, release := make(chan struct{}, 10), make(chan struct{})
	var dialer net.Dialer
	w := new(watch)
	c := newConsumer(t, func(context.Context, string) error { return nil }, nsqx.WithLookupd(l.URL), soon, nsqx.WithHooks(w.hooks()),
		nsqx.WithConn(conn.Config{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialling <- struct{}{}
			await(t, release)
			return dialer.DialContext(ctx, network, addr)
		}}))
	r := start(t, c)
	receive(t, dialling, "the first dial")
	for _, answer := range []http.HandlerFunc{naming(), naming(p.Addr())} {
		l.set(answer)
		polled(t, c, 2)
	}
	close(release)
	w.connected(t, 1)
	p.Cut()
	w.connected(t, 2)
	r.mustStop()
	w.checkDials(t)
}
