package redial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/notify"
)

// try calls Trying and checks both results.
func (f *fixture) try(wantConn, wantTrying bool) {
	f.t.Helper()
	c, trying := f.Trying(addrA)
	check.Want(f.t, "has a connection", c != nil, wantConn)
	check.Want(f.t, "trying", trying, wantTrying)
}

// TestLazyDialsOnceANeed: neither Start nor Connect nor the end of a connection dials.
func TestLazyDialsOnceANeed(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Lazy: true}, nil)
		f.Connect(addrA)
		f.run()
		f.Connect(addrB)
		f.Connect(addrA)
		f.Redial(addrB)
		time.Sleep(time.Hour)
		f.wantAllIdle(2)
		f.wantDials(0)
		for n := range 3 {
			release := f.hold()
			f.try(false, true)
			f.try(false, true) // of the same dial
			release()
			f.wantDials(n + 1)
			f.try(true, false)
			check.WantErr(t, "Publish", f.publish(), nil)
			f.cut()
			time.Sleep(time.Hour)
			f.wantDials(n + 1)
		}
	})
}

// wantAllIdle checks that there are n addresses, and that nothing dials them.
func (f *fixture) wantAllIdle(n int) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	check.Want(f.t, "addresses", len(f.lines), n)
	for _, l := range f.lines {
		check.Want(f.t, l.addr+" is idle", l.running || l.waiting || l.conn != nil, false)
	}
}

// TestLazyAnyTrying dials the first address only; while that one waits, the next.
func TestLazyAnyTrying(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Lazy: true}, nil)
		f.Connect(addrA)
		f.Connect(addrB)
		f.run()
		f.net.Refuse(errRefused)
		for dials := 1; dials <= 2; dials++ {
			trying, errs := f.AnyTrying()
			check.Want(t, "trying", trying, true)
			check.Want(t, "errors", len(errs), 0)
			f.wantDials(dials)
		}
		trying, errs := f.AnyTrying()
		check.Want(t, "trying", trying, false)
		check.Want(t, "errors", len(errs), 2)
		check.WantErr(t, "error", errors.Join(errs...), errRefused)
		f.wantDials(2)
	})
}

// TestLazyFailure: the pause is kept, and then the address may be tried again.
func TestLazyFailure(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Lazy: true}, nil)
		f.net.Refuse(errRefused)
		f.Connect(addrA)
		f.run()
		for n := range 8 {
			f.try(false, true)
			f.wantState("waiting")
			f.try(false, false)
			e := f.last()
			check.Want(t, "kind", e.kind, notify.DialError)
			wantPause(t, fmt.Sprint("failure ", n+1), e.retry, base(n))
			changed := f.Changed()
			time.Sleep(e.retry - 1)
			f.try(false, false)
			time.Sleep(time.Nanosecond)
			f.wantState("idle")
			<-changed // a waiting publish may ask again
			f.wantDials(n + 1)
		}
	})
}

// TestLazyIdle: a connection is closed 30 to 60 s after its last use.
func TestLazyIdle(t *testing.T) {
	for name, tt := range map[string]struct {
		publish []time.Duration // since the connection
		ends    time.Duration
	}{
		"never used":         {nil, 30 * time.Second},
		"used at once":       {[]time.Duration{0}, 60 * time.Second},
		"used late":          {[]time.Duration{29 * time.Second}, 60 * time.Second},
		"used twice":         {[]time.Duration{time.Second, 31 * time.Second}, 90 * time.Second},
		"used repeatedly":    {[]time.Duration{1e9, 25e9, 50e9, 75e9, 100e9}, 150 * time.Second},
		"used in one period": {[]time.Duration{1e9, 2e9, 3e9, 29e9}, 60 * time.Second},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			f := newFixture(t, Config{Lazy: true}, nil)
			f.Connect(addrA)
			f.run()
			f.try(false, true)
			f.wantState("connected")
			c := f.Conns()[0]
			ended := make(chan time.Duration)
			go func() {
				<-c.Done()
				ended <- time.Since(f.start)
			}()
			for _, at := range tt.publish {
				time.Sleep(at - time.Since(f.start))
				check.WantErr(t, "Publish", f.publish(), nil)
			}
			check.Want(t, "ended", <-ended, tt.ends)
			f.wantState("idle")
			f.wantEvents("connect disconnect")
			check.WantErr(t, "error", f.last().err, nil)
			check.Want(t, "retry", f.last().retry, 0)
			f.try(false, true) // a new need
			f.wantState("connected")
		})
	}
}

// TestLazyUnanswered: a connection with a publish that nsqd has not answered is in use.
func TestLazyUnanswered(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		answer := make(chan struct{})
		f := newFixture(t, Config{Lazy: true, Conn: conn.Config{PublishTimeout: time.Hour}}, func(p *fake.Peer) {
			p.Identify(nil)
			p.Expect("PUB")
			time.Sleep(70 * time.Second)
			p.Heartbeat()
			<-answer
			p.Response("OK")
			p.HalfClosed()
		})
		f.Connect(addrA)
		f.run()
		f.try(false, true)
		f.wantState("connected")
		go func() {
			time.Sleep(95 * time.Second)
			close(answer)
		}()
		check.WantErr(t, "Publish", f.publish(), nil)
		check.Want(t, "time", time.Since(f.start), 95*time.Second)
		time.Sleep(24 * time.Second)
		f.wantState("connected") // at 120 s it is seen that it was used since 90 s
		time.Sleep(time.Minute)
		f.wantState("idle")
	})
}

// TestLazyForget removes an idle address at once.
func TestLazyForget(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Lazy: true}, nil)
		f.Connect(addrA)
		f.run()
		f.Forget(addrA)
		f.wantState("gone")
		f.try(false, false)
		f.Connect(addrA)
		f.try(false, true)
		f.wantState("connected")
		f.Forget(addrA)
		f.try(true, false) // stays until it ends
		f.cut()
		f.wantState("gone")
		f.wantDials(1)
	})
}

// TestLazyAfterClose dials nothing.
func TestLazyAfterClose(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Lazy: true}, nil)
		f.Connect(addrA)
		f.run()
		f.Close()
		f.Trying(addrA)
		f.AnyTrying()
		f.wantState("idle")
		f.wantDials(0)
		f.Wait()
	})
}

// TestUserCode: DialContext and AuthSecret that panic, or call runtime.Goexit, fail one dial. Its
// socket is closed, and the next dial follows.
func TestUserCode(t *testing.T) {
	errPanic := errors.New("the value of a panic")
	asksForAuth := func(p *fake.Peer) {
		p.Identify(map[string]any{"auth_required": true})
		for {
			cmd, err := p.Next()
			switch {
			case err != nil:
				return
			case cmd.Name == "AUTH":
				p.Response(`{"identity":"x","permission_count":1}`)
			case cmd.Name == "SUB":
				p.Response("OK")
			}
		}
	}
	for name, tt := range map[string]struct {
		fault func()
		want  error
		auth  bool // the fault is in AuthSecret
	}{
		"DialContext panics":       {func() { panic(errPanic) }, errPanic, false},
		"DialContext calls Goexit": {runtime.Goexit, guard.ErrGoexit, false},
		"AuthSecret panics":        {func() { panic(errPanic) }, errPanic, true},
		"AuthSecret calls Goexit":  {runtime.Goexit, guard.ErrGoexit, true},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			faults := 2
			fail := func(auth bool) {
				if auth == tt.auth && faults > 0 {
					faults--
					tt.fault()
				}
			}
			var f *fixture
			f = newFixture(t, Config{Sub: orders, Conn: conn.Config{
				AllowPlaintextAuth: true,
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					fail(false)
					return f.net.DialContext(ctx, network, addr)
				},
				AuthSecret: func(context.Context) (string, error) {
					fail(true)
					return "secret", nil
				},
			}}, asksForAuth)
			f.run()
			f.Connect(addrA)
			for n := range 2 {
				f.wantState("waiting")
				e := f.last()
				check.Want(t, "kind", e.kind, notify.DialError)
				check.WantErr(t, "error", e.err, tt.want)
				failure, ok := errors.AsType[*conn.Error](e.err)
				if _, panicked := errors.AsType[*handler.PanicError](e.err); !ok || !panicked || failure.Addr != addrA {
					t.Errorf("error is %#v", e.err)
				}
				wantPause(t, "pause", e.retry, base(n))
				f.net.Wait() // no socket is left
				time.Sleep(e.retry)
			}
			f.wantState("connected")
			f.wantEvents("error error connect")
		})
	}
}

// TestDetachedAfterServe: Detached gets a connection that has ended and is in Conns no more.
func TestDetachedAfterServe(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f := newFixture(t, Config{Sub: orders}, nil)
		f.cfg.Attached = func() { check.Want(t, "connections when attached", len(f.Conns()), 1) }
		f.cfg.Detached = func(c *conn.Conn) {
			check.Want(t, "connections when detached", len(f.Conns()), 0)
			check.Want(t, "alive", c.Alive(), false)
			f.detached.Add(c)
		}
		f.run()
		f.Connect(addrA)
		synctest.Wait()
		c := f.Conns()[0]
		f.cut()
		check.Want(t, "detached", f.detached.Len(), 1)
		check.Want(t, "connection", f.detached.All()[0], c)
	})
}
