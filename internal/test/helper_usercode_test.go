package test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

func done(context.Context, string) error { return nil }

func alwaysFails(context.Context, string) error { return retry.Permanent(errBill) }

// errDown fails a dependency.
var errDown = errors.New("database is down")

func failing() error { return errBill }

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
	return nsqx.WithHooks(observe.Hooks{OnBackoff: func(e observe.BackoffEvent) {
		if e.State == observe.BackoffOpen {
			d.backoffs.add(e)
		}
	}})
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

// confirmDeadLetter is a DeadLetterFunc that succeeds.
func confirmDeadLetter(context.Context, *handler.Message, error) error { return nil }

func returning(err error) handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			_ = next(ctx, m)
			return err
		}
	}
}

func insteadOf(err error) handler.Middleware {
	return func(handler.Raw) handler.Raw {
		return func(context.Context, *handler.Message) error { return err }
	}
}

func panics(when string) handler.Middleware {
	return func(next handler.Raw) handler.Raw {
		return func(ctx context.Context, m *handler.Message) error {
			if when == "before" {
				panic(errOther)
			}
			_ = next(ctx, m)
			panic(errOther)
		}
	}
}

var panickingHook = observe.Hooks{OnSettle: func(*handler.Message) { panic(errOther) }}

var exitingHook = observe.Hooks{OnSettle: func(*handler.Message) { runtime.Goexit() }}

// panickingLog is a slog.Handler that panics.
type panickingLog struct{ slog.Handler }

func (panickingLog) Handle(context.Context, slog.Record) error { panic(errOther) }

func (panickingLog) Enabled(context.Context, slog.Level) bool { return true }

func (l panickingLog) WithAttrs([]slog.Attr) slog.Handler { return l }

// nilErr panics in Unwrap if it is a nil pointer.
type nilErr struct{ cause error }

func (e *nilErr) Error() string { return "careless" }

func (e *nilErr) Unwrap() error { return e.cause }

// noCopy is a codec that copies nothing, which a real one must not do.
type noCopy struct{}

func (noCopy) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }

func (noCopy) Decode(body []byte) ([]byte, error) { return body, nil }

var errEncode = errors.New("cannot be encoded")

// picky encodes all values but "bad", and panics at "worse".
var picky = codec.Func(func(dst []byte, v string) ([]byte, error) {
	switch v {
	case "bad":
		return dst, errEncode
	case "worse":
		panic(errEncode)
	case "forgets":
		return nil, nil
	}
	return append(dst, v...), nil
}, func(b []byte) (string, error) { return string(b), nil })

// hostileConn is a net.Conn of the user of which one method misbehaves once.
type hostileConn struct {
	net.Conn
	method string
	do     func() // misbehaves while armed
	armed  *atomic.Bool
}

func (c *hostileConn) misbehave(method string) {
	if c.method == method && c.armed.CompareAndSwap(true, false) {
		c.do()
	}
}

func (c *hostileConn) Read(p []byte) (int, error) { c.misbehave("Read"); return c.Conn.Read(p) }

func (c *hostileConn) Write(p []byte) (int, error) { c.misbehave("Write"); return c.Conn.Write(p) }

func (c *hostileConn) CloseWrite() error {
	c.misbehave("CloseWrite")
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

func (c *hostileConn) Close() error { c.misbehave("Close"); return c.Conn.Close() }

func (c *hostileConn) SetReadDeadline(t time.Time) error {
	c.misbehave("SetReadDeadline")
	return c.Conn.SetReadDeadline(t)
}

func (c *hostileConn) SetWriteDeadline(t time.Time) error {
	c.misbehave("SetWriteDeadline")
	return c.Conn.SetWriteDeadline(t)
}
