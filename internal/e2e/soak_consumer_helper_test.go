package e2e

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

const (
	soakTimeout    = 2 * time.Second // of messages
	soakMaxTimeout = 4 * time.Second
	soakRequeue    = 200 * time.Millisecond // the longest delay
	soakShutdown   = time.Second
)

// soakConn is the configuration of all clients of a soak.
var soakConn = conn.Config{
	DialTimeout: time.Second, HandshakeTimeout: 2 * time.Second, HeartbeatInterval: time.Second,
	PublishTimeout: 2 * time.Second, MaxMessageSize: 4096,
}

// randomConsumer is a consumer whose handlers succeed, fail, panic, hang and touch at random.
type randomConsumer struct {
	*nsqx.Consumer[string]
	book *account
	tap  *wiretap
	seed uint64

	outage  atomic.Bool // makes every handler fail
	ended   atomic.Bool // Run has returned
	running atomic.Int64
	most    atomic.Int64

	mu          sync.Mutex
	concurrency int
	before      int // the previous concurrency
	until       time.Time

	cancel context.CancelFunc
	done   chan struct{}
	err    error         // of Run
	drain  time.Duration // duration of the shutdown
	since  time.Time     // start of the shutdown
}

type plan struct {
	concurrency, maxInFlight int
	compression              conn.Compression // if set, the wiretap sees nothing
	seed                     uint64
}

func startConsumer(book *account, p plan, redirect func(string) string, opts ...nsqx.ConsumerOption) (*randomConsumer, error) {
	m := &randomConsumer{book: book, seed: p.seed, concurrency: p.concurrency, done: make(chan struct{})}
	m.tap = &wiretap{book: book, timeout: soakTimeout, maxTimeout: soakMaxTimeout, maxRequeue: soakRequeue,
		redirect: redirect, conns: make(map[*tapped]struct{})}
	m.tap.allow(inFlight(p.maxInFlight))
	cfg := soakConn
	cfg.Compression = p.compression
	cfg.DialContext = m.tap.dial
	if p.compression != conn.NoCompression {
		cfg.DialContext = redirected(redirect)
	}
	var err error
	m.Consumer, err = nsqx.NewConsumer(topic, channel, codec.String(), m.handle, append(opts,
		nsqx.WithConn(cfg), nsqx.WithConcurrency(p.concurrency), nsqx.WithMaxInFlight(p.maxInFlight),
		nsqx.WithRetry(retry.Exponential(5*time.Millisecond, soakRequeue)), nsqx.WithMaxRequeueDelay(soakRequeue),
		nsqx.WithDeadLetter("dead"), nsqx.WithShutdownTimeout(soakShutdown), nsqx.WithHooks(nsqx.Hooks{OnSettle: m.onSettle}))...)
	if err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(m.done)
		m.err = m.Run(ctx)
		m.ended.Store(true)
	}()
	return m, nil
}

// inFlight returns the bound that WithMaxInFlight(n) sets.
func inFlight(n int) int {
	if n == 0 {
		return 2500 // automatic: nsqd's --max-rdy-count
	}
	return n
}

// stop cancels the context of Run, waits for Run and checks its result. (I9)
func (m *randomConsumer) stop() {
	if !m.since.IsZero() {
		return // called again after a failed test
	}
	select {
	case <-m.done:
		m.book.fault("Run ended before it was cancelled: %v", m.err)
	default:
	}
	m.since = time.Now()
	m.cancel()
	select {
	case <-m.done:
		m.drain = time.Since(m.since)
		m.Consumer = nil // must not count as growing memory
	case <-time.After(waitTimeout + soakShutdown):
		buf := make([]byte, 1<<20)
		m.book.fault("Run has not returned\n%s", buf[:runtime.Stack(buf, true)])
		return
	}
	if _, ok := errors.AsType[*nsqx.ShutdownError](m.err); m.err != nil && !ok {
		m.book.fault("Run: %v", m.err)
	}
	if limit := soakShutdown + 2*time.Second + slack; m.drain > limit {
		m.book.fault("the shutdown took %v, want %v at most: %v", m.drain, limit, m.err)
	}
}

func (m *randomConsumer) setConcurrency(n int) {
	m.mu.Lock()
	m.before, m.concurrency, m.until = max(m.concurrency, m.before), n, time.Now().Add(time.Second)
	m.mu.Unlock()
	if err := m.SetConcurrency(n); err != nil {
		m.book.fault("SetConcurrency(%d): %v", n, err)
	}
}

func (m *randomConsumer) setMaxInFlight(n int) {
	m.tap.allow(inFlight(n))
	if err := m.SetMaxInFlight(n); err != nil {
		m.book.fault("SetMaxInFlight(%d): %v", n, err)
	}
}

// allowed returns how many handlers may run. A lower concurrency takes effect late: a handler may
// be about to start.
func (m *randomConsumer) allowed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Now().Before(m.until) {
		return max(m.before, m.concurrency)
	}
	m.before = 0
	return m.concurrency
}

// onSettle records a dead letter before its FIN is written.
func (m *randomConsumer) onSettle(msg *handler.Message) {
	if msg.Outcome().Disposition == handler.DeadLetter {
		m.book.deadLetter(msg.Body)
	}
}

func (m *randomConsumer) handle(ctx context.Context, body string) error {
	if m.ended.Load() {
		m.book.fault("a handler begins after Run has returned")
	}
	n := m.running.Add(1)
	defer m.running.Add(-1)
	for top := m.most.Load(); n > top && !m.most.CompareAndSwap(top, n); top = m.most.Load() {
	}
	if allowed := m.allowed(); int(n) > allowed {
		m.book.fault("%d handlers run, want %d at most", n, allowed)
	}
	k, ok := m.book.begin(body)
	if !ok {
		return nil
	}
	msg := handler.FromContext(ctx)
	if err := m.behave(ctx, mix(m.seed, k, msg.Attempts), msg); err != nil {
		m.book.failures.Add(1)
		return err
	}
	m.book.succeed(k)
	return nil
}

// mix returns a pseudo-random number for a delivery, the same for the same seed.
func mix(seed uint64, k key, attempts uint16) uint64 {
	x := seed ^ uint64(k.stream)<<56 ^ uint64(k.seq)<<16 ^ uint64(attempts)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// behave does what x decides, then returns the handler's result.
func (m *randomConsumer) behave(ctx context.Context, x uint64, msg *handler.Message) error {
	late := time.Duration(x>>32%800) * time.Millisecond
	switch choice := x % 10_000; {
	case m.outage.Load() || choice < 200:
		return errFailed
	case choice < 250:
		return retry.After(late/10, nil)
	case choice < 300:
		panic("at random")
	case choice < 320:
		m.book.failures.Add(1)
		runtime.Goexit()
	case choice < 500:
		time.Sleep(late / 40)
	case choice < 504 && msg.Attempts < 4: // hangs past its context
		<-ctx.Done()
		time.Sleep(late)
		if x>>20%2 == 0 {
			return ctx.Err()
		}
	case choice < 514: // slow, and touches
		for range 3 {
			select {
			case <-time.After(late):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			_ = msg.Touch() // the connection may be gone
		}
	case choice < 540:
		return retry.Permanent(errFailed)
	}
	return nil
}
