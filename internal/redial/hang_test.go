package redial

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/notify"
)

// hanging returns a Set whose DialContext ignores its ctx until release is called, and the number of
// its calls. script is that of newFixture.
func hanging(t *testing.T, script func(*fake.Peer)) (f *fixture, calls *atomic.Int32, release func()) {
	gate := make(chan struct{})
	calls = new(atomic.Int32)
	f = newFixture(t, Config{Sub: orders, Conn: conn.Config{
		DialTimeout: 2 * time.Second, HandshakeTimeout: 3 * time.Second,
		DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			calls.Add(1)
			<-gate
			return f.net.DialContext(context.Background(), network, addr)
		},
	}}, script)
	return f, calls, func() { close(gate); synctest.Wait() }
}

// TestDialHangs: a dial that outlives its timeouts fails, and the next ones fail until it returns. It
// costs one goroutine, other addresses do not wait for it, and a connection that it returns at last
// is closed.
func TestDialHangs(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		f, calls, release := hanging(t, nil)
		f.run()
		f.Connect(addrA)
		time.Sleep(5*time.Second + guard.Patience - 1)
		f.wantState("dialling")
		time.Sleep(time.Nanosecond)
		f.wantState("waiting")
		e := f.last()
		check.Want(t, "kind", e.kind, notify.DialError)
		check.WantErr(t, "error", e.err, guard.ErrHangs)
		if failure, ok := errors.AsType[*conn.Error](e.err); !ok || failure.Addr != addrA {
			t.Errorf("error is %#v", e.err)
		}
		check.Want(t, "Tried", f.Tried(), true)
		time.Sleep(time.Hour)
		check.Want(t, "calls", calls.Load(), 1)
		check.WantErr(t, "last error", f.last().err, guard.ErrHangs)
		release()
		time.Sleep(time.Minute)
		f.wantState("connected")
		check.Want(t, "calls", calls.Load(), 2)
		f.wantDials(2)
		check.Want(t, "connections", len(f.Conns()), 1)
		// The bubble would not end if the late one were open.
	})
}

// TestCloseWhileDialHangs: Wait does not wait for a dial that ignores its ctx.
func TestCloseWhileDialHangs(t *testing.T) {
	for name, after := range map[string]time.Duration{"in the first dial": 0, "in a later one": time.Minute} {
		check.Bubble(t, name, func(t *testing.T) {
			f, _, release := hanging(t, func(p *fake.Peer) { _, _ = io.Copy(io.Discard, p.Conn) }) // it is closed at once
			f.run()
			f.Connect(addrA)
			time.Sleep(after)
			start := time.Now()
			f.stop()
			if took := time.Since(start); took > guard.Patience {
				t.Errorf("took %v to end", took)
			}
			release()
			check.Want(t, "connections", len(f.Conns()), 0)
		})
	}
}
