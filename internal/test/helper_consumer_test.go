package test

import (
	"context"
	"errors"
	"log/slog"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

// errDown fails a dependency.
var errDown = errors.New("database is down")

// dependency is a resource that a handler needs. A call takes 10 ms, whether it is up or down.
type dependency struct {
	down  atomic.Bool
	start time.Time

	running, most atomic.Int32
	runs          synced[time.Duration] // their starts, relative to start
	backoffs      synced[observe.BackoffEvent]
}

func newDependency(down bool) *dependency {
	d := &dependency{start: time.Now()}
	d.down.Store(down)
	return d
}

func (d *dependency) handle(context.Context, string) error {
	d.runs.add(time.Since(d.start))
	n := d.running.Add(1)
	for most := d.most.Load(); n > most && !d.most.CompareAndSwap(most, n); most = d.most.Load() {
	}
	defer d.running.Add(-1)
	time.Sleep(10 * time.Millisecond)
	if d.down.Load() {
		return errDown
	}
	return nil
}

func (d *dependency) hook() nsqx.ConsumerOption {
	return nsqx.WithHooks(observe.Hooks{OnBackoff: d.backoffs.add})
}

// runsBetween counts the runs that began between two instants.
func (d *dependency) runsBetween(from, to time.Time) (n int) {
	for _, at := range d.runs.all() {
		if began := d.start.Add(at); !began.Before(from) && began.Before(to) {
			n++
		}
	}
	return n
}

// wantBackoffs checks the delays of the events, and that between two of them only one message, the
// trial, ran after the delay.
func (d *dependency) wantBackoffs(t *testing.T, delays ...time.Duration) {
	t.Helper()
	events := d.backoffs.all()
	if len(events) < len(delays) {
		t.Fatalf("%d backoffs, want %d", len(events), len(delays))
	}
	for i, e := range events[:len(delays)] {
		if e.Delay != delays[i] || e.Topic != "orders" || e.Channel != "billing" {
			t.Errorf("backoff %d is %+v, want %v", i, e, delays[i])
		}
		if i == 0 {
			continue
		}
		before := events[i-1]
		if waited := e.Time.Sub(before.Time); waited < before.Delay || waited > before.Delay+250*time.Millisecond {
			t.Errorf("backoff %d comes %v after the one before, which was of %v", i, waited, before.Delay)
		}
		from := before.Time.Add(time.Millisecond)
		if n := d.runsBetween(from, before.Time.Add(before.Delay)); n != 0 {
			t.Errorf("%d handlers ran while the breaker was open for %v", n, before.Delay)
		}
		if n := d.runsBetween(from, e.Time); n != 1 {
			t.Errorf("%d handlers ran between backoff %d and %d, want one trial", n, i-1, i)
		}
	}
}

var dead = nsqx.WithDeadLetter("dead")

func alwaysFails(context.Context, string) error { return retry.Permanent(errBill) }

// afterCLS counts the RDYs after CLS.
func afterCLS(s *nsqxtest.Server) (n int) {
	closing := false
	for _, cmd := range s.Commands("RDY", "CLS") {
		closing = closing || cmd.Name == "CLS"
		if closing && cmd.Name == "RDY" {
			n++
		}
	}
	return n
}

// sleeps is a handler that ignores its context.
func sleeps(d time.Duration, answer error) handler.Func[string] {
	return func(context.Context, string) error {
		time.Sleep(d)
		return answer
	}
}

// waitsForContext is a handler that returns when its context ends.
func waitsForContext(answer error) handler.Func[string] {
	return func(ctx context.Context, _ string) error {
		<-ctx.Done()
		return answer
	}
}

func timeout(d time.Duration) nsqx.ConsumerOption { return nsqx.WithShutdownTimeout(d) }

// consume runs a consumer of orders/billing at servers until stop is called, or the end of the
// test. The servers check it.
func consume(t *testing.T, servers []*nsqxtest.Server, fn handler.Func[string], opts ...nsqx.ConsumerOption) (c *nsqx.Consumer[string], stop func()) {
	t.Helper()
	c = newConsumer(t, fn, append([]nsqx.ConsumerOption{nsqxtest.Option(servers...)}, opts...)...)
	stop = nsqxtest.Run(t, c)
	synctest.Wait()
	return c, stop
}

func newConsumer(t *testing.T, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	return makeConsumer(t, fn, append(opts, nsqx.WithLogger(discard))...)
}

func makeConsumer(t *testing.T, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(), fn, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// publish publishes n messages to orders.
func publish(s *nsqxtest.Server, n int) []handler.ID {
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = []byte(strconv.Itoa(i))
	}
	return s.Publish("orders", bodies...)
}

// billing returns the state of orders/billing.
func billing(s *nsqxtest.Server) nsqxtest.ChannelStats {
	synctest.Wait()
	return s.Stats("orders", "billing")
}

func finished(n int) func(nsqxtest.ChannelStats) bool {
	return func(st nsqxtest.ChannelStats) bool { return st.Finished >= n }
}

// rdy returns the RDY of a server's only subscriber.
func rdy(t *testing.T, s *nsqxtest.Server) int {
	t.Helper()
	synctest.Wait()
	for _, c := range s.Conns() {
		if c.Topic() == "orders" {
			return c.RDY()
		}
	}
	t.Fatalf("%s: no subscriber", s.Addr())
	return 0
}

// waitTimes are the times from the publish of messages to the start of their handlers.
type waitTimes struct {
	mu  sync.Mutex
	all []time.Duration
}

func (w *waitTimes) record(ctx context.Context) {
	d := time.Since(handler.FromContext(ctx).Timestamp())
	w.mu.Lock()
	w.all = append(w.all, d)
	w.mu.Unlock()
}

func (w *waitTimes) longest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Max(w.all)
}

// source is the origin of messages for Process. It has no network.
type source struct {
	nsqd  string
	ctx   context.Context
	end   context.CancelCauseFunc
	terms handler.Terms

	mu      sync.Mutex
	touched int
}

// newSource returns a source with a message timeout of one minute.
func newSource(t testing.TB) *source {
	s := &source{nsqd: nsqd1, terms: handler.Terms{
		Start: time.Now(), MessageTimeout: time.Minute, MaxMessageTimeout: 15 * time.Minute, Margin: 250 * time.Millisecond,
	}}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	t.Cleanup(func() { s.end(nil) })
	return s
}

func (s *source) Topic() string { return "orders" }

func (s *source) Channel() string { return "billing" }

func (s *source) NSQD() string { return s.nsqd }

func (s *source) Context() context.Context { return s.ctx }

func (s *source) Terms() *handler.Terms { return &s.terms }

func (s *source) Touch(*handler.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched++
	return nil
}

// message returns a message that nsqd accepted age ago and that s receives now.
func (s *source) message(attempts uint16, age time.Duration, body string) *handler.Message {
	m := new(handler.Message)
	id, _ := handler.ParseID(fake.ID(1))
	(*handler.Delivery)(m).Init(&handler.Read{Source: s, At: s.terms.Now()}, id, attempts, time.Now().Add(-age).UnixNano(), []byte(body))
	return m
}

func done(context.Context, string) error { return nil }

func opts(o ...nsqx.ConsumerOption) []nsqx.ConsumerOption { return o }

var (
	seconds  = retry.PolicyFunc(func(attempt int, _ error) time.Duration { return time.Duration(attempt) * time.Second })
	max3     = nsqx.WithMaxAttempts(3)
	stop     = retry.Schedule(time.Second, retry.Stop)
	maxAge   = nsqx.WithMaxAge(time.Hour)
	errOther = errors.New("other")
)

// confirmDeadLetter is a DeadLetterFunc that succeeds.
func confirmDeadLetter(context.Context, *handler.Message, error) error { return nil }

func failing() error { return errBill }

// gauge counts running handlers.
type gauge struct{ now, most, runs atomic.Int32 }

func (g *gauge) handler(d time.Duration) handler.Func[string] {
	return func(context.Context, string) error {
		g.runs.Add(1)
		n := g.now.Add(1)
		for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
		}
		defer g.now.Add(-1)
		time.Sleep(d)
		return nil
	}
}

// wakeups returns about how often goroutines of the process were scheduled while f ran.
func wakeups(f func()) (n uint64) {
	count := func() (n uint64) {
		sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
		metrics.Read(sample)
		for _, c := range sample[0].Value.Float64Histogram().Counts {
			n += c
		}
		return n
	}
	before := count()
	f()
	return count() - before
}

// hangs returns a handler that ignores its context and hangs until release is called, with the
// number of its runs.
func hangs() (fn handler.Func[string], runs *atomic.Int32, release func()) {
	released := make(chan struct{})
	runs = new(atomic.Int32)
	return func(context.Context, string) error {
		runs.Add(1)
		<-released
		return nil
	}, runs, func() { close(released) }
}

// wantAttempts checks that no message was delivered more than most times.
func wantAttempts(t *testing.T, s *nsqxtest.Server, ids []handler.ID, most int) {
	t.Helper()
	above := 0
	for _, id := range ids {
		if s.Attempts("orders", "billing", id) > most {
			above++
		}
	}
	if above > 0 {
		t.Errorf("%d messages were delivered more than %d times", above, most)
	}
}

// wantFullCapacity checks that a consumer that was stalled reaches MaxInFlight n again by handling
// messages quickly.
func wantFullCapacity(t *testing.T, c *nsqx.Consumer[string], s *nsqxtest.Server, n int) {
	t.Helper()
	for range 20 {
		publish(s, 50)
		time.Sleep(200 * time.Millisecond)
	}
	want(t, "MaxInFlight at the end", c.Stats().MaxInFlight, n)
}

// newLoggedConsumer is newConsumer with a log.
func newLoggedConsumer(t *testing.T, log *logbook, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	return makeConsumer(t, fn, append(opts, nsqx.WithLogger(slog.New(log)))...)
}
