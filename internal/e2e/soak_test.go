package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// soak is X1: everything at once.
type soak struct {
	t         *testing.T
	random    *rand.Rand
	book      *account
	lookups   []*testnsqd.Lookupd
	nsqds     []*testnsqd.Server
	proxies   [][]*testnsqd.Proxy // by client, then nsqd
	consumers []*randomConsumer   // by slot
	producers []*randomProducer

	retired  sync.WaitGroup // consumers being stopped
	metering sync.WaitGroup
	mu       sync.Mutex
	all      []*randomConsumer
	totals   totals
	journal  []string // restarts
}

const (
	soakNSQDs, soakConsumers, soakProducers, soakStreams = 3, 4, 2, 4 // streams of each producer
)

// soakTime returns the duration of a soak: NSQX_SOAK, or 2 s.
func soakTime(tb testing.TB) time.Duration {
	tb.Helper()
	v, ok := os.LookupEnv("NSQX_SOAK")
	if !ok {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		tb.Fatalf("NSQX_SOAK=%q is not a positive duration such as 30m", v)
	}
	return d
}

// TestSoakX1 runs everything at once for NSQX_SOAK, then balances the account: nothing acked is
// lost (I1), no FIN without a success (I2), no stale answer (I3), no more duplicates than the
// faults explain (I4), no more handlers (I5) and RDY (I6) than allowed, all connections return
// (I7), shutdowns keep their time (I9), and no goroutine, descriptor or memory remains (I10, I11).
func TestSoakX1(t *testing.T) {
	seed, d := soakSeed(t), soakTime(t)
	before := takeVitals(0)
	t.Run("soak", func(t *testing.T) { runSoak(t, seed, d) })
	settles(func() bool { return takeVitals(0).noMoreThan(before) })
	if after := takeVitals(0); !after.noMoreThan(before) {
		t.Errorf("before: %v, after: %v", before, after)
	}
}

func runSoak(t *testing.T, seed uint64, d time.Duration) {
	s := &soak{t: t, random: rand.New(rand.NewPCG(seed, 0)), book: newAccount(soakProducers * soakStreams)}
	ended := make(chan struct{})
	s.metering.Go(func() { s.book.stalls.run(ended) })
	t.Cleanup(func() { s.metering.Wait() })
	t.Cleanup(func() { close(ended) })
	s.start(seed)
	sched := newScheduler(seed, s.faults()...)
	began, report := time.Now(), time.Now().Add(time.Minute)
	var curve []vitals
	sched.run(d, func() {
		if time.Now().After(report) {
			report = report.Add(time.Minute)
			v := takeVitals(s.book.bytes())
			curve = append(curve, v)
			t.Logf("%v: %d acked, %d delivered, %v, %d restarts, %v", time.Since(began).Round(time.Second),
				s.book.published.Load(), s.book.delivered.Load(), sched, len(s.journal), v)
		}
	})
	quiet := time.Now()
	b := s.end()
	t.Logf("%v; %d nsqd restarts; %d consumers; quiet after %v", sched, len(s.journal), len(s.all), time.Since(quiet).Round(time.Millisecond))
	a := s.book
	t.Logf("%d acked, %d unconfirmed, %d not sent, %d rejected; %d delivered, %d successes, %d failures, %d dead letters",
		a.published.Load(), a.unconfirmed.Load(), a.notSent.Load(), a.rejected.Load(),
		a.delivered.Load(), a.successes.Load(), a.failures.Load(), a.dead.Load())
	t.Logf("lost %d; published twice at most %d, of %d unconfirmed; %d extra deliveries, bound %d: %+v",
		b.lost, max(b.twice, 0), a.unconfirmed.Load(), b.extra, b.bound, s.totals)
	s.logTaps()
	if b.lost > 0 {
		t.Logf("restarts:\n%s", strings.Join(s.journal, "\n"))
	}
	if n := len(curve); n > 2 && curve[n-1].heap > curve[0].heap+32<<20 {
		t.Errorf("memory grows: %v, then %v", curve[0], curve[n-1])
	}
	if a.successes.Load() == 0 || len(sched.counts) == 0 {
		t.Error("nothing has happened")
	}
	a.check(t)
}

func (s *soak) logTaps() {
	var fin, req, touch, rdy int
	var drain time.Duration
	for _, m := range s.all {
		fin, req, touch, rdy = fin+m.tap.fin, req+m.tap.req, touch+m.tap.touch, rdy+m.tap.rdys
		drain = max(drain, m.drain)
	}
	s.t.Logf("on the wire: %d FIN, %d REQ, %d TOUCH, %d RDY; longest shutdown %v", fin, req, touch, rdy, drain.Round(time.Millisecond))
}

func (s *soak) start(seed uint64) {
	t := s.t
	s.lookups = []*testnsqd.Lookupd{testnsqd.StartLookupd(t), testnsqd.StartLookupd(t)}
	for range soakNSQDs {
		n := testnsqd.Start(t, s.lookups[0].Register, s.lookups[1].Register, func(o *nsqd.Options) {
			o.MsgTimeout, o.MaxMsgTimeout = soakTimeout, soakMaxTimeout
			o.MemQueueSize = 500
		})
		n.EnsureChannel(topic, channel)
		n.EnsureChannel("dead", channel)
		s.nsqds = append(s.nsqds, n)
	}
	s.proxies = make([][]*testnsqd.Proxy, soakConsumers+soakProducers)
	for client := range s.proxies {
		for _, n := range s.nsqds {
			s.proxies[client] = append(s.proxies[client], testnsqd.StartProxy(t, n.Addr()))
		}
	}
	s.consumers = make([]*randomConsumer, soakConsumers)
	for slot := range s.consumers {
		s.addConsumer(slot, s.random)
	}
	// Runs even if the soak fails.
	t.Cleanup(func() {
		for _, a := range s.producers {
			a.stop()
			closeIn(t, a)
		}
		s.retired.Wait()
		for _, m := range s.all {
			m.stop()
		}
	})
	for i := range soakProducers {
		cfg := soakConn
		cfg.DialContext = redirected(s.proxied(soakConsumers + i))
		var addrs []string
		for _, n := range s.nsqds {
			addrs = append(addrs, n.Addr())
		}
		a, err := startProducer(s.book, s.random, i*soakStreams, soakStreams, nsqx.WithNSQD(addrs...), nsqx.WithConn(cfg))
		must(t, err)
		s.producers = append(s.producers, a)
	}
}

// proxied maps the address of an nsqd to the client's own proxy.
func (s *soak) proxied(client int) func(addr string) string {
	return func(addr string) string {
		for i, n := range s.nsqds {
			if n.Addr() == addr {
				return s.proxies[client][i].Addr()
			}
		}
		s.book.fault("dialled %s, which is no nsqd", addr)
		return addr
	}
}

// addConsumer starts a consumer in a slot. The last slot compresses, so it has no wiretap.
func (s *soak) addConsumer(slot int, r *rand.Rand) {
	p := plan{concurrency: 1 + r.IntN(16), seed: r.Uint64()}
	if r.IntN(2) == 0 {
		p.maxInFlight = 1 + r.IntN(200)
	}
	if slot == soakConsumers-1 {
		p.compression = []conn.Compression{conn.Snappy, conn.Deflate}[r.IntN(2)]
	}
	m, err := startConsumer(s.book, p, s.proxied(slot),
		nsqx.WithLookupd(s.lookups[0].HTTPAddr(), s.lookups[1].HTTPAddr()), nsqx.WithLookupInterval(200*time.Millisecond))
	must(s.t, err)
	s.consumers[slot] = m
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, m)
}

// restart restarts an nsqd without clients and keeps its counters.
func (s *soak) restart(i int) {
	for _, client := range s.proxies {
		client[i].Refuse()
		client[i].Cut()
	}
	s.nsqds[i].Quiesce()
	s.count(i)
	s.journal = append(s.journal, fmt.Sprintf("nsqd %d, streams at %v", i, s.book.issued()))
	before := s.nsqds[i].Unfinished()
	s.nsqds[i].Restart()
	if !settles(func() bool { return s.nsqds[i].Unfinished() >= before }) {
		s.book.fault("nsqd %d had %d messages before its restart, and has %d: it has lost some itself", i, before, s.nsqds[i].Unfinished())
	}
	for _, client := range s.proxies {
		client[i].Heal()
	}
}

// count adds an nsqd's counters to the totals before a restart resets them.
func (s *soak) count(i int) {
	at := s.nsqds[i].Channel(topic, channel)
	s.totals.accepted += count(s.nsqds[i], topic)
	s.totals.requeued += int(at.Requeued)
	s.totals.timedOut += int(at.TimedOut)
	s.totals.atFault += at.InFlight
}

// end waits until all messages are handled, ends everything, and balances the account.
func (s *soak) end() balance {
	t := s.t
	for _, a := range s.producers {
		a.stop()
	}
	s.retired.Wait()
	for slot, m := range s.consumers {
		testnsqd.Eventually(t, waitTimeout, func() bool { return allConnected(m) }, "consumer %d to be connected everywhere again", slot)
	}
	for last, since := int64(0), time.Now(); s.book.open() > 0 || s.unfinished() > 0; time.Sleep(20 * time.Millisecond) {
		if n := s.book.successes.Load(); n > last {
			last, since = n, time.Now()
		}
		if time.Since(since) > waitTimeout {
			break // the rest is lost
		}
	}
	for _, m := range s.consumers {
		m.stop()
		if m.err != nil {
			t.Errorf("Run, when all was well: %v", m.err)
		}
	}
	for _, a := range s.producers {
		closeIn(t, a)
		if n := a.Stats().InFlight; n != 0 {
			t.Errorf("%d messages in flight after Close", n)
		}
	}
	s.readDeadLetters()
	for i, n := range s.nsqds {
		n.Quiesce()
		s.count(i)
	}
	if stacks := ours(); len(stacks) > 0 && !settles(func() bool { return len(ours()) == 0 }) {
		t.Errorf("%d goroutines are left, such as\n%s", len(stacks), stacks[0])
	}
	return s.book.close(s.totals)
}

func allConnected(m *randomConsumer) bool {
	n := 0
	for _, c := range m.Stats().Connections {
		if c.Connected {
			n++
		}
	}
	return n == soakNSQDs
}

func (s *soak) unfinished() (n int) {
	for _, d := range s.nsqds {
		n += d.Channel(topic, channel).Unfinished()
	}
	return n
}

func (s *soak) readDeadLetters() {
	var addrs []string
	for _, n := range s.nsqds {
		addrs = append(addrs, n.Addr())
	}
	c := newConsumerOf(s.t, "dead", channel, func(_ context.Context, body string) error {
		s.book.deadLetterSeen(body)
		return nil
	}, nsqx.WithNSQD(addrs...))
	r := start(s.t, c)
	receive(s.t, c.Ready(), "the consumer of the dead letters")
	for _, n := range s.nsqds {
		eventually(s.t, func() bool { return n.Channel("dead", channel).Unfinished() == 0 }, "the dead letters")
	}
	r.mustStop()
}

// vitals are quantities that must not grow.
type vitals struct {
	goroutines, files int
	heap              int // bytes, without the account
}

func takeVitals(ledger int) vitals {
	runtime.GC()
	runtime.GC() // frees what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return vitals{runtime.NumGoroutine(), len(openFiles()), int(m.HeapAlloc) - ledger}
}

func (v vitals) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %.1f MiB", v.goroutines, v.files, float64(v.heap)/(1<<20))
}

// noMoreThan allows for memory that servers and the runtime keep.
func (v vitals) noMoreThan(before vitals) bool {
	return v.goroutines <= before.goroutines && v.files <= before.files && v.heap <= before.heap+8<<20
}
