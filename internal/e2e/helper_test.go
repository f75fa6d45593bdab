package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

const (
	// patience is how long what should happen at once may take on a machine
	// that is busy with something else.
	patience = 20 * time.Second

	topic, channel = "orders", "billing"
)

var errFailed = errors.New("handler failed")

// at is a retry policy without jitter: the same delay always.
func at(d time.Duration) nsqx.ConsumerOption {
	return nsqx.WithRetry(retry.PolicyFunc(func(int, error) time.Duration { return d }))
}

// messageTimeout sets nsqd's --msg-timeout.
func messageTimeout(d time.Duration) func(*nsqd.Options) {
	return func(o *nsqd.Options) { o.MsgTimeout = d }
}

// newConsumer makes a consumer of strings from orders/billing.
func newConsumer(tb testing.TB, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	tb.Helper()
	return newConsumerOf(tb, topic, channel, fn, opts...)
}

func newConsumerOf(tb testing.TB, topic, channel string, fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	tb.Helper()
	c, err := nsqx.NewConsumer(topic, channel, codec.String(), fn, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// running is a service between the call of its Run and its return.
type running struct {
	tb     testing.TB
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run
}

// start runs a service until stop is called, or the test ends.
func start(tb testing.TB, s nsqx.Service) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{tb: tb, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = s.Run(ctx)
	}()
	tb.Cleanup(func() { _ = r.stop() })
	return r
}

// stop cancels the ctx of Run, and returns what it returns.
func (r *running) stop() error {
	r.tb.Helper()
	r.cancel()
	select {
	case <-r.ended:
		return r.err
	case <-time.After(patience + 22*time.Second): // the longest that any consumer here may take
		buf := make([]byte, 1<<20)
		r.tb.Errorf("Run has not returned\n%s", buf[:runtime.Stack(buf, true)])
		return errors.New("Run has not returned")
	}
}

// mustStop is stop for a drain that must succeed.
//
// If this process got no processor meanwhile, nor did nsqd in it, which then may
// have taken more than half a second to close its half of a connection.
func (r *running) mustStop() {
	r.tb.Helper()
	before := heart.total(time.Now())
	err := r.stop()
	if errors.Is(err, conn.ErrNotConfirmed) && heart.total(time.Now())-before > standstill {
		r.tb.Logf("Run, on a machine that stood still: %v", err)
	} else if err != nil {
		r.tb.Errorf("Run: %v", err)
	}
}

// receive waits for something on a channel.
func receive[T any](tb testing.TB, ch <-chan T, what string) T {
	tb.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		tb.Fatalf("waited %v for %s", patience, what)
		panic("not reached")
	}
}

// await waits for a channel to be closed, or for the end of the test: no handler
// outlives one that has failed.
func await(tb testing.TB, ch <-chan struct{}) {
	select {
	case <-ch:
	case <-tb.Context().Done():
	}
}

// eventually waits for what nsqd would have to be asked for.
func eventually(tb testing.TB, cond func() bool, format string, args ...any) {
	tb.Helper()
	testnsqd.Eventually(tb, patience, cond, format, args...)
}

// settles says whether cond becomes true, for where there is no test to fail.
func settles(cond func() bool) bool {
	for deadline := time.Now().Add(patience / 4); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// numbered are n distinct bodies.
func numbered(prefix string, n int) (bodies [][]byte) {
	for i := range n {
		bodies = append(bodies, fmt.Appendf(nil, "%s-%d", prefix, i))
	}
	return bodies
}

// delivery is one of a message, as the handler had it.
type delivery struct {
	attempts uint16
	at       time.Time
}

// ledger notes, by body, what handlers have seen and what they have answered.
// Ids are no keys: they are not unique.
type ledger struct {
	mu         sync.Mutex
	deliveries map[string][]delivery
	successes  map[string]int
	changed    chan struct{} // has a token after each success
}

func newLedger() *ledger {
	return &ledger{deliveries: make(map[string][]delivery), successes: make(map[string]int), changed: make(chan struct{}, 1)}
}

// begin notes a delivery.
func (l *ledger) begin(ctx context.Context, body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries[body] = append(l.deliveries[body], delivery{handler.FromContext(ctx).Attempts, time.Now()})
}

// succeed notes that a handler is about to return nil.
func (l *ledger) succeed(body string) {
	l.mu.Lock()
	l.successes[body]++
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// handled counts the messages with a success.
func (l *ledger) handled() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.successes)
}

// has says whether a message has a success.
func (l *ledger) has(body string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.successes[body] > 0
}

// of returns the deliveries of a message.
func (l *ledger) of(body string) []delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.deliveries[body])
}

// extra counts the deliveries beyond the first of each message.
func (l *ledger) extra() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.deliveries {
		n += len(d) - 1
	}
	return n
}

// wait waits until n messages have a success.
func (l *ledger) wait(tb testing.TB, n int) {
	tb.Helper()
	timeout := time.After(3 * patience)
	for l.handled() < n {
		select {
		case <-l.changed:
		case <-timeout:
			tb.Fatalf("%d of %d messages were handled", l.handled(), n)
		}
	}
}

// complete fails the test, on any machine, unless each of bodies has a success, and nothing else has.
func (l *ledger) complete(tb testing.TB, bodies [][]byte) {
	tb = outright(tb)
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	missing := 0
	for _, b := range bodies {
		if l.successes[string(b)] == 0 {
			missing++
		}
	}
	if missing > 0 || len(l.successes) != len(bodies) {
		tb.Errorf("%d of %d messages were never handled; %d were in all", missing, len(bodies), len(l.successes))
	}
}

// settled is a message with its outcome, as OnSettle has it.
type settled struct {
	body     string
	attempts uint16
	outcome  handler.Outcome
}

// watch is a hook for everything.
type watch struct {
	mu                                         sync.Mutex
	connects, disconnects, dialErrors, refused []observe.ConnEvent
	outcomes                                   []settled
}

func (w *watch) note(list *[]observe.ConnEvent, ev observe.ConnEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*list = append(*list, ev)
}

func (w *watch) hooks() nsqx.Hooks {
	notes := func(list *[]observe.ConnEvent) func(observe.ConnEvent) {
		return func(ev observe.ConnEvent) { w.note(list, ev) }
	}
	return nsqx.Hooks{
		OnConnect: notes(&w.connects), OnDisconnect: notes(&w.disconnects), OnDialError: notes(&w.dialErrors), OnRefused: notes(&w.refused),
		OnSettle: w.onSettle,
	}
}

func (w *watch) onSettle(m *handler.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes = append(w.outcomes, settled{string(m.Body), m.Attempts, m.Outcome()})
}

func (w *watch) events(list *[]observe.ConnEvent) []observe.ConnEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(*list)
}

// settled returns the outcomes so far.
func (w *watch) settled() []settled {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.outcomes)
}

// connected waits for n connections in all.
func (w *watch) connected(tb testing.TB, n int) {
	tb.Helper()
	eventually(tb, func() bool { return len(w.events(&w.connects)) >= n }, "%d connections", n)
}

// publish puts messages into a topic, and waits until they are in the channel:
// until then nsqd's statistics do not count them.
func publish(tb testing.TB, s *testnsqd.Server, topic string, bodies ...[]byte) {
	tb.Helper()
	s.EnsureChannel(topic, channel)
	before := s.Channel(topic, channel).Messages
	s.Publish(topic, bodies...)
	eventually(tb, func() bool {
		return s.Channel(topic, channel).Messages >= before+uint64(len(bodies))
	}, "%d messages to be in %s/%s", len(bodies), topic, channel)
}

// finished waits until c has said FIN n times, and nsqd has no message of its
// channel left, of n in all. (nsqd's statistics alone prove nothing: a message
// that it just moves is nowhere.)
func finished(tb testing.TB, s *testnsqd.Server, c interface{ Stats() nsqx.Stats }, n int) {
	tb.Helper()
	topic := c.Stats().Topic
	eventually(tb, func() bool {
		st := c.Stats()
		return st.Finished+st.Dropped+st.DeadLettered >= uint64(n)
	}, "%d messages to be settled", n)
	eventually(tb, func() bool { return s.Channel(topic, channel).Unfinished() == 0 },
		"%d messages of %s to be finished", n, topic)
	if st := s.Channel(topic, channel); st.Messages != uint64(n) {
		tb.Errorf("%s has had %d messages, want %d", topic, st.Messages, n)
	}
}

// stragglers fails the test unless n messages of a topic are left now that its
// consumers have ended, and returns how many of them are in flight.
//
// None should be. But nsqd may take a message from the queue before CLS and
// send it after its answer to CLS, once for each connection; on a machine with
// too much to do that may be after the half-close, when no answer is possible.
// Such a message waits for its timeout. More than one for a connection, or
// more than n messages left, are answers that were not processed.
func stragglers(tb testing.TB, s *testnsqd.Server, topic string, connections, n int) int {
	tb.Helper()
	at := s.Channel(topic, channel)
	if at.InFlight > connections || at.Unfinished() > n {
		tb.Errorf("%d messages of %s should be left, nsqd says %+v", n, topic, at)
	}
	eventually(tb, func() bool { return s.Channel(topic, channel).Unfinished() >= n }, "%d messages to be left", n)
	return s.Channel(topic, channel).InFlight
}

// collect consumes n messages, which must be all there are, and returns their
// bodies in order.
func collect(tb testing.TB, s *testnsqd.Server, topic, channel string, n int, opts ...nsqx.ConsumerOption) []string {
	tb.Helper()
	s.EnsureChannel(topic, channel)
	got := make(chan string, 2*n+16)
	c := newConsumerOf(tb, topic, channel, func(_ context.Context, body string) error {
		got <- body
		return nil
	}, append(opts, nsqx.WithNSQD(s.Addr()))...)
	r := start(tb, c)
	var bodies []string
	for range n {
		bodies = append(bodies, receive(tb, got, "a message of "+topic))
	}
	r.mustStop()
	if st := s.Channel(topic, channel); len(got) > 0 || st.Unfinished() > 0 {
		tb.Errorf("%s has more than %d messages: %d were delivered, then %+v", topic, n, n+len(got), st)
	}
	slices.Sort(bodies)
	return bodies
}

// logBuffer is a log that can be searched.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// ours are the goroutines that run code of nsqx, but for tests.
func ours() (stacks []string) {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		for _, pkg := range []string{"nsqx.(", "nsqx/conn.", "nsqx/handler."} {
			if strings.Contains(stack, "github.com/nsqx/"+pkg) {
				stacks = append(stacks, stack)
				break
			}
		}
	}
	return stacks
}
