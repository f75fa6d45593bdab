package test

import (
	"context"
	"errors"
	"log/slog"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

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

// newLoggedConsumer is newConsumer with a log.
func newLoggedConsumer(t *testing.T, log *logbook, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	return makeConsumer(t, fn, append(opts, nsqx.WithLogger(slog.New(log)))...)
}

func makeConsumer(t *testing.T, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	t.Helper()
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(), fn, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func opts(o ...nsqx.ConsumerOption) []nsqx.ConsumerOption { return o }

var dead = nsqx.WithDeadLetter("dead")

func timeout(d time.Duration) nsqx.ConsumerOption { return nsqx.WithShutdownTimeout(d) }

var (
	seconds  = retry.PolicyFunc(func(attempt int, _ error) time.Duration { return time.Duration(attempt) * time.Second })
	max3     = nsqx.WithMaxAttempts(3)
	guard15  = nsqx.WithCrashGuard(15)
	stop     = retry.Schedule(time.Second, retry.Stop)
	maxAge   = nsqx.WithMaxAge(time.Hour)
	errOther = errors.New("other")
)

// wantStop calls stop and checks how long the shutdown takes.
func wantStop(t *testing.T, stop func(), want time.Duration) {
	t.Helper()
	began := time.Now()
	stop()
	if took := time.Since(began); took != want {
		t.Errorf("the shutdown took %v, want %v", took, want)
	}
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
