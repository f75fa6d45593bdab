package fake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/fake"
)

func TestDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ordinals []int
		n := fake.NewNetwork(t, func(p *fake.Peer) { ordinals = append(ordinals, p.N) })
		ctx, cancel := context.WithCancel(context.Background())
		try := func(want error) {
			t.Helper()
			nc, err := n.DialContext(ctx, "tcp", "nsqd-1:4150")
			if !errors.Is(err, want) || (nc == nil) != (want != nil) {
				t.Errorf("dial: %v, %v; want error %v", nc, err, want)
			}
			n.Wait()
		}
		try(nil)
		n.Refuse(syscall.ECONNREFUSED)
		try(syscall.ECONNREFUSED)
		n.Refuse(nil)
		try(nil)
		cancel()
		try(context.Canceled)
		if n.Dials() != 4 || !slices.Equal(ordinals, []int{1, 3}) {
			t.Errorf("%d dials, scripts of %v", n.Dials(), ordinals)
		}
	})
}

// Wait returns when the script ends, here after its last heartbeat.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := fake.NewNetwork(t, func(p *fake.Peer) {
			for p.WriteErr() == nil {
				time.Sleep(30 * time.Second)
				p.Heartbeat()
			}
		})
		start := time.Now()
		nc := dial(t, n)
		time.AfterFunc(75*time.Second, func() { _ = nc.Close() })
		beat := string(fake.Frame(0, []byte("_heartbeat_")))
		got, err := io.ReadAll(nc)
		if string(got) != beat+beat || !isClosed(err) {
			t.Errorf("read %q, %v; want two heartbeats", got, err)
		}
		n.Wait()
		if d := time.Since(start); d != 90*time.Second {
			t.Errorf("waited until %v, want 90s", d)
		}
	})
}

func TestCleanup(t *testing.T) {
	tests := map[string]struct {
		script func(p *fake.Peer)
		want   string // failure
	}{
		"expects": {func(p *fake.Peer) { p.Expect("SUB") }, "want SUB, got read pipe"},
		"reads": {func(p *fake.Peer) {
			for {
				if _, err := p.Next(); err != nil {
					return
				}
			}
		}, ""},
		"waits for a half-close": {func(p *fake.Peer) { p.HalfClosed() }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tb := &recorder{TB: t}
			n := fake.NewNetwork(tb, tt.script)
			nc := dial(t, n)
			tb.cleanups[0]()
			if tt.want != "" {
				tb.wantOne(t, tt.want)
			} else if len(tb.errors) > 0 {
				t.Errorf("failures %q", tb.errors)
			}
			wantAll(t, nc, "")
			if _, err := n.DialContext(context.Background(), "tcp", "late"); !isClosed(err) {
				t.Errorf("dial after the cleanup: %v", err)
			}
		})
	}
}

func TestScriptEndsByFailNow(t *testing.T) {
	tb := &recorder{TB: t}
	n := fake.NewNetwork(tb, func(p *fake.Peer) { runtime.Goexit() })
	nc := dial(t, n)
	n.Wait()
	wantAll(t, nc, "")
}

func TestListen(t *testing.T) {
	type seen struct {
		n      int
		addr   string
		closed bool
	}
	got := make(chan seen, 2)
	addr := fake.Listen(t, func(p *fake.Peer) {
		p.Subscribe(nil)
		if p.N == 2 {
			p.Reset()
		}
		got <- seen{p.N, p.Addr, p.HalfClosed()}
	})
	ok := string(fake.Frame(0, []byte("OK")))
	for i := 1; i <= 2; i++ {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(nc, "  V2IDENTIFY\n"+body("{}")+"SUB orders billing\n")
		if i == 1 {
			_ = nc.(*net.TCPConn).CloseWrite()
			wantAll(t, nc, ok+ok)
		} else if _, err := io.ReadAll(nc); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after Reset: %v", err)
		}
		if s := <-got; s != (seen{i, addr, i == 1}) {
			t.Errorf("connection %d: %+v", i, s)
		}
		_ = nc.Close()
	}
}

func TestListenCleanup(t *testing.T) {
	tb := &recorder{TB: t}
	addr := fake.Listen(tb, func(p *fake.Peer) { p.Magic() })
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprint(nc, "  V2")
	wantAll(t, nc, "")
	tb.cleanups[0]()
	if late, err := net.Dial("tcp", addr); err == nil {
		_ = late.Close()
		t.Error("still listening after the cleanup")
	}
}

// A script that does not read blocks the writes of a client with a small buffer.
func TestFrozenPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := fake.NewNetwork(t, func(p *fake.Peer) {
			p.Client.SetBuffer(4)
			p.Magic()
			time.Sleep(time.Hour)
		})
		nc := dial(t, n)
		fmt.Fprint(nc, "  V2")
		synctest.Wait()
		_ = nc.SetWriteDeadline(time.Now().Add(time.Minute))
		if k, err := nc.Write([]byte("NOP\nNOP\n")); k != 4 || err == nil {
			t.Errorf("wrote %d bytes, %v", k, err)
		}
		_ = nc.Close()
		n.Wait()
	})
}
