package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

const (
	// waitTimeout is the longest wait for something that should happen at once, on a busy machine.
	waitTimeout = 20 * time.Second

	topic, channel = "orders", "billing"
)

var errFailed = errors.New("handler failed")

// at is a retry policy with a constant delay.
func at(d time.Duration) nsqx.ConsumerOption {
	return nsqx.WithRetry(retry.PolicyFunc(func(int, error) time.Duration { return d }))
}

func messageTimeout(d time.Duration) func(*nsqd.Options) {
	return func(o *nsqd.Options) { o.MsgTimeout = d }
}

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

type running struct {
	tb     testing.TB
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run
}

// start runs a service until stop or the end of the test.
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

func (r *running) stop() error {
	r.tb.Helper()
	r.cancel()
	select {
	case <-r.ended:
		return r.err
	case <-time.After(waitTimeout + 22*time.Second): // the longest shutdown of any consumer here
		buf := make([]byte, 1<<20)
		r.tb.Errorf("Run has not returned\n%s", buf[:runtime.Stack(buf, true)])
		return errors.New("Run has not returned")
	}
}

// mustStop is stop for a drain that must succeed.
//
// A process without a CPU stops nsqd as well, which then may not close its half of a connection in
// time.
func (r *running) mustStop() {
	r.tb.Helper()
	before := stalls.total(time.Now())
	err := r.stop()
	if errors.Is(err, conn.ErrNotConfirmed) && stalls.total(time.Now())-before > minStall {
		r.tb.Logf("Run, while the process was stalled: %v", err)
	} else if err != nil {
		r.tb.Errorf("Run: %v", err)
	}
}

func receive[T any](tb testing.TB, ch <-chan T, what string) T {
	tb.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(waitTimeout):
		tb.Fatalf("waited %v for %s", waitTimeout, what)
		panic("not reached")
	}
}

// await waits until ch is closed or the test ends, so no handler outlives a failed test.
func await(tb testing.TB, ch <-chan struct{}) {
	select {
	case <-ch:
	case <-tb.Context().Done():
	}
}

// eventually polls cond until it is true. Use it only for what no channel reports.
func eventually(tb testing.TB, cond func() bool, format string, args ...any) {
	tb.Helper()
	testnsqd.Eventually(tb, waitTimeout, cond, format, args...)
}

// settles reports whether cond becomes true, for callers that must not fail the test.
func settles(cond func() bool) bool {
	for deadline := time.Now().Add(waitTimeout / 4); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func numbered(prefix string, n int) (bodies [][]byte) {
	for i := range n {
		bodies = append(bodies, fmt.Appendf(nil, "%s-%d", prefix, i))
	}
	return bodies
}

// publish publishes messages and waits until they are in the channel. Until then nsqd's statistics
// do not count them.
func publish(tb testing.TB, s *testnsqd.Server, topic string, bodies ...[]byte) {
	tb.Helper()
	s.EnsureChannel(topic, channel)
	before := s.Channel(topic, channel).Messages
	s.Publish(topic, bodies...)
	eventually(tb, func() bool {
		return s.Channel(topic, channel).Messages >= before+uint64(len(bodies))
	}, "%d messages to be in %s/%s", len(bodies), topic, channel)
}

// finished waits until c has settled n messages and nsqd has finished all n messages of its
// channel. nsqd's statistics alone are not enough: they miss a message that nsqd is moving.
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

// stragglers fails the test unless n messages of a topic are left after its consumers have ended.
// It returns how many of them are in flight.
//
// None should be. But nsqd may take a message from the queue before CLS and send it after its
// answer to CLS, once for each connection. On a busy machine that may be after the half-close, when
// no answer is possible, and the message waits for its timeout. More than one for each connection,
// or more than n messages left, are unprocessed answers.
func stragglers(tb testing.TB, s *testnsqd.Server, topic string, connections, n int) int {
	tb.Helper()
	at := s.Channel(topic, channel)
	if at.InFlight > connections || at.Unfinished() > n {
		tb.Errorf("%d messages of %s should be left, nsqd says %+v", n, topic, at)
	}
	eventually(tb, func() bool { return s.Channel(topic, channel).Unfinished() >= n }, "%d messages to be left", n)
	return s.Channel(topic, channel).InFlight
}

// collect consumes n messages, which must be all there are, and returns their sorted bodies.
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

// logBuffer is a log that tests can search. It is safe for concurrent use.
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

// ours returns the stacks of goroutines that run code of nsqx, except tests.
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

const (
	beat = time.Second // the shortest heartbeat interval nsqd accepts

	// noticed is how long it takes to detect a silent peer.
	noticed = 2*beat + time.Second
	slack   = 3 * time.Second // allowance for a busy machine
)

// quick detects a dead peer soon.
var quick = conn.Config{HeartbeatInterval: beat, HandshakeTimeout: 500 * time.Millisecond}

// seeded returns a random source and logs its seed, so that a failure can be repeated as far as the
// scheduler allows.
func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

func connectedAgain(tb testing.TB, c interface{ Stats() nsqx.Stats }) {
	tb.Helper()
	eventually(tb, func() bool {
		return !slices.ContainsFunc(c.Stats().Connections, func(s observe.ConnStats) bool { return !s.Connected })
	}, "all connections")
}

// finishedSince waits until n messages are finished. All of them must be published after nsqd's
// start.
func finishedSince(tb testing.TB, s *testnsqd.Server, n uint64) {
	tb.Helper()
	eventually(tb, func() bool {
		st := s.Channel(topic, channel)
		return st.Messages == n && st.Unfinished() == 0
	}, "%d messages to be finished", n)
}

// stopsWithin stops an idle consumer and fails the test if that takes longer than d.
func stopsWithin(tb testing.TB, r *running, d time.Duration) {
	tb.Helper()
	began := time.Now()
	r.mustStop()
	if took := time.Since(began); took > d {
		tb.Errorf("Run returned after %v, want %v at most", took, d)
	}
}

// commands counts the occurrences of a command in the bytes to nsqd.
func commands(p *testnsqd.Proxy, name string) *atomic.Int64 {
	n := new(atomic.Int64)
	p.Tap(func(d testnsqd.Direction, b []byte) []byte {
		if d == testnsqd.ToServer {
			n.Add(int64(bytes.Count(b, []byte(name))))
		}
		return b
	})
	return n
}

// gated is a handler that reports each start and then waits until gate is closed or the test ends.
type gated struct {
	began chan string
	gate  chan struct{}
	ended <-chan struct{}
}

func newGated(tb testing.TB) *gated {
	return &gated{began: make(chan string, 1000), gate: make(chan struct{}), ended: tb.Context().Done()}
}

func (g *gated) handle(_ context.Context, body string) error {
	g.began <- body
	select {
	case <-g.gate:
	case <-g.ended:
	}
	return nil
}

// silent returns a script that runs steps and then sends nothing more.
func silent(steps func(p *fake.Peer)) func(p *fake.Peer) {
	return func(p *fake.Peer) {
		steps(p)
		for {
			if _, err := p.Next(); err != nil {
				return
			}
		}
	}
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
