package test

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
)

// service is a running consumer.
type service struct {
	*nsqx.Consumer[string]
	t      *testing.T
	cancel func()
	done   chan struct{}
	err    error         // of Run, after done
	took   time.Duration // from the first cancel to done
}

// stop cancels Run, and returns its error and how long it took.
func (s *service) stop() (time.Duration, error) {
	s.cancel()
	<-s.done
	return s.took, s.err
}

// wantStop stops and checks that Run returns nil after d.
func (s *service) wantStop(d time.Duration) {
	s.t.Helper()
	took, err := s.stop()
	if took != d || err != nil {
		s.t.Errorf("Run returned %v after %v, want nil after %v", err, took, d)
	}
}

// wantShutdown stops a consumer whose shutdown is incomplete.
func (s *service) wantShutdown(after time.Duration) *nsqx.ShutdownError {
	s.t.Helper()
	took, err := s.stop()
	want(s.t, "took", took, after)
	shutdown, ok := err.(*nsqx.ShutdownError)
	if !ok {
		s.t.Fatalf("Run returned %v, want a *ShutdownError", err)
	}
	return shutdown
}

// consumer makes a consumer of orders/billing.
func (d *nsqds) consumer(fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	d.t.Helper()
	opts = append([]nsqx.ConsumerOption{nsqx.WithNSQD(d.addrs...), nsqx.WithConn(d.config), nsqx.WithLogger(slog.New(d.log))}, opts...)
	c, err := nsqx.NewConsumer("orders", "billing", codec.String(), fn, opts...)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// run runs a consumer until stop is called, or the end of the test.
func (d *nsqds) run(fn handler.Func[string], opts ...nsqx.ConsumerOption) *service {
	d.t.Helper()
	return d.runContext(context.Background(), fn, opts...)
}

func (d *nsqds) runContext(ctx context.Context, fn handler.Func[string], opts ...nsqx.ConsumerOption) *service {
	d.t.Helper()
	s := &service{Consumer: d.consumer(fn, opts...), t: d.t, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(ctx)
	var cancelled atomic.Pointer[time.Time]
	s.cancel = func() {
		now := time.Now()
		cancelled.CompareAndSwap(nil, &now)
		cancel()
	}
	go func() {
		defer close(s.done)
		s.err = s.Run(ctx)
		if from := cancelled.Load(); from != nil {
			s.took = time.Since(*from)
		}
	}()
	d.t.Cleanup(func() {
		s.cancel()
		<-s.done
	})
	return s
}

// closeTime is how long the shutdown of an idle consumer takes: nsqd may still send messages for
// this long after its answer to CLS.
const closeTime = 50 * time.Millisecond

// lastWait is what handlers that did not return in time have at the very end of a shutdown.
const lastWait = 100 * time.Millisecond

// onPUB returns an nsqds.on that answers publishes by address.
func onPUB(answers map[string]func(l *line)) func(*line, fake.Command) bool {
	return func(l *line, cmd fake.Command) bool {
		answer := answers[l.addr]
		if cmd.Name != "PUB" && cmd.Name != "MPUB" || answer == nil {
			return false
		}
		answer(l)
		return true
	}
}

func sayAfter(d time.Duration, response string) func(*line) {
	return func(l *line) { time.AfterFunc(d, func() { l.say(response) }) }
}

func neverAnswer(*line) {}

func refusePublish(l *line) {
	l.fail("E_PUB_FAILED PUB failed")
	l.p.Close()
}

// onCLS returns an nsqds.on that calls f for CLS instead of answering.
func onCLS(f func(l *line)) func(*line, fake.Command) bool {
	return func(l *line, cmd fake.Command) bool {
		if cmd.Name != "CLS" {
			return false
		}
		f(l)
		return true
	}
}

// freeze makes an nsqd stop, even reading.
func freeze(*line) { time.Sleep(time.Hour) }

// freezeAt freezes at one command.
func freezeAt(l *line, cmd fake.Command, at string) {
	if cmd.Name == at {
		freeze(l)
	}
}

// dialHangs is a DialContext that hangs.
func dialHangs(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// slowConn delays each write.
type slowConn struct {
	net.Conn
	delay time.Duration
}

func (c slowConn) Write(p []byte) (int, error) {
	time.Sleep(c.delay)
	return c.Conn.Write(p)
}

func (c slowConn) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }
