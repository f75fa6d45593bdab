// Tests of proxy.go and link.go.

package testnsqd_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// quietness is how long silence is awaited. A fault without effect shows within it; an effective
// one passes on any machine.
const quietness = 50 * time.Millisecond

// echo runs a server that sends back what it receives, including FIN.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

func (r *raw) reads(want string) {
	r.tb.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r.Conn, got); err != nil || string(got) != want {
		r.tb.Fatalf("got %q, error %v; want %q", got[:n], err, want)
	}
}

// dialEcho connects to an echo server through the proxy and reads the magic bytes back.
func dialEcho(t *testing.T, p *testnsqd.Proxy) *raw {
	t.Helper()
	c := dial(t, p.Addr())
	c.reads("  V2")
	return c
}

func TestProxyPassesEverythingOn(t *testing.T) {
	s := testnsqd.Start(t)
	p := testnsqd.StartProxy(t, s.Addr())
	s.EnsureChannel("orders", "billing")
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	s.Publish("orders", body)
	c := subscribe(t, p.Addr(), "orders", "billing")
	if _, _, got := c.message(); got != string(body) {
		t.Errorf("%d bytes of %d came through", len(got), len(body))
	}
	if got := p.Accepted(); got != 1 {
		t.Errorf("accepted: got %d, want 1", got)
	}
}

func TestProxyPassesHalfCloseOn(t *testing.T) {
	p := testnsqd.StartProxy(t, echo(t))
	c := dialEcho(t, p)
	c.send("last words")
	c.Conn.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "last words" {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestProxyCut(t *testing.T) {
	s := testnsqd.Start(t)
	p := testnsqd.StartProxy(t, s.Addr())
	for _, tt := range []struct {
		name string
		end  func()
		want error
	}{
		{"FIN", p.Cut, io.EOF},
		{"RST", p.Reset, syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := subscribe(t, p.Addr(), "orders", "billing")
			testnsqd.Eventually(t, waitTimeout, func() bool { return s.Clients() == 1 }, "the client")
			tt.end()
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, tt.want) {
				t.Errorf("client reads %v, want %v", err, tt.want)
			}
			s.Quiesce()
		})
	}
}

// TestProxyCutUnderLoadIsEOF: a cut must not become a reset because the proxy has unread bytes.
func TestProxyCutUnderLoadIsEOF(t *testing.T) {
	p := testnsqd.StartProxy(t, echo(t))
	for range 20 {
		c := dialEcho(t, p)
		var sending sync.WaitGroup
		sending.Go(func() {
			for block := make([]byte, 8<<10); ; {
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		})
		c.reads(string(make([]byte, 64<<10)))
		p.Cut()
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("client reads %v, want EOF", err)
		}
		c.Close()
		sending.Wait()
	}
}

func TestProxyPassesEndOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := testnsqd.StartProxy(t, l.Addr().String())
	c := dial(t, p.Addr())
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server.(*net.TCPConn).SetLinger(0)
	server.Close()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("client reads %v, want EOF or a reset", err)
	}
}

func TestProxyRefuse(t *testing.T) {
	p := testnsqd.StartProxy(t, echo(t))
	before := dialEcho(t, p)
	p.Refuse()
	if c, err := net.DialTimeout("tcp", p.Addr(), waitTimeout); !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			c.Close()
		}
		t.Errorf("dial: got %v, want a refusal", err)
	}
	before.send("still here")
	before.reads("still here")
	p.Allow()
	dialEcho(t, p)
}

func TestProxyWithoutServerResets(t *testing.T) {
	s := testnsqd.Start(t)
	p := testnsqd.StartProxy(t, s.Addr())
	s.Stop()
	c, err := net.DialTimeout("tcp", p.Addr(), waitTimeout)
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(waitTimeout))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) { // a slow dial may already fail
		t.Errorf("got %v, want a reset", err)
	}
}

func TestProxyFreeze(t *testing.T) {
	for _, d := range []testnsqd.Direction{testnsqd.ToServer, testnsqd.ToClient} {
		t.Run(d.String(), func(t *testing.T) {
			p := testnsqd.StartProxy(t, echo(t))
			c := dialEcho(t, p)
			p.Freeze(d)
			p.Freeze(d)
			c.send("held")
			c.Conn.(*net.TCPConn).CloseWrite()
			c.silent(quietness)
			p.Thaw(d)
			p.Thaw(d)
			c.reads("held")
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("client reads %v, want EOF", err)
			}
		})
	}
}

func TestProxyCutsWhatIsFrozen(t *testing.T) {
	p := testnsqd.StartProxy(t, echo(t))
	c := dialEcho(t, p)
	p.Freeze(testnsqd.ToServer)
	p.Freeze(testnsqd.ToClient)
	c.send("never heard of again")
	p.Cut()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("client reads %d bytes, error %v; want EOF", n, err)
	}
}

func TestProxyDelay(t *testing.T) {
	p := testnsqd.StartProxy(t, echo(t))
	c := dialEcho(t, p)
	p.Delay(testnsqd.ToServer, quietness)
	p.Delay(testnsqd.ToClient, quietness)
	start := time.Now()
	c.send("ping")
	c.reads("ping")
	if rtt := time.Since(start); rtt < 2*quietness {
		t.Errorf("round trip of %v, want at least %v", rtt, 2*quietness)
	}
	p.Delay(testnsqd.ToClient, time.Hour)
	c.send("late")
	c.silent(quietness)
}

func TestProxyTap(t *testing.T) {
	p := testnsqd.StartProxy(t, echo(t))
	c := dialEcho(t, p)
	var mu sync.Mutex
	var seen [2]bytes.Buffer
	p.Tap(func(d testnsqd.Direction, b []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		seen[d].Write(b)
		if d == testnsqd.ToServer && bytes.HasPrefix(b, []byte("FIN")) {
			return nil
		}
		return bytes.ToUpper(b)
	})
	c.send("touch")
	c.reads("TOUCH")
	c.send("FIN x")
	c.silent(quietness)
	p.Tap(nil)
	c.send("nop")
	c.reads("nop")

	mu.Lock()
	defer mu.Unlock()
	if got := seen[testnsqd.ToServer].String(); got != "touchFIN x" {
		t.Errorf("seen to the server: %q", got)
	}
	if got := seen[testnsqd.ToClient].String(); got != "TOUCH" {
		t.Errorf("seen to the client: %q", got)
	}
}

func TestProxyCutAfter(t *testing.T) {
	p := testnsqd.StartProxy(t, echo(t))
	for n := range 5 {
		p.CutAfter(testnsqd.ToClient, n)
		c := dial(t, p.Addr())
		if got, err := io.ReadAll(c); err != nil || string(got) != "  V2"[:n] {
			t.Errorf("cut after %d: got %q, error %v", n, got, err)
		}
	}
	p.CutAfter(testnsqd.ToClient, -1)
	dialEcho(t, p)
}

func TestProxyHeal(t *testing.T) {
	p := testnsqd.StartProxy(t, echo(t))
	tapped := make(chan struct{}, 100)
	p.Tap(func(_ testnsqd.Direction, b []byte) []byte {
		tapped <- struct{}{}
		return b
	})
	c := dialEcho(t, p)
	p.Heal() // of nothing
	for _, d := range []testnsqd.Direction{testnsqd.ToServer, testnsqd.ToClient} {
		p.Freeze(d)
		p.Delay(d, time.Hour)
		p.CutAfter(d, 6)
		p.Slice(d, 1)
	}
	p.Refuse()
	p.Heal()
	for range len(tapped) {
		<-tapped
	}
	c.send("0123456789")
	c.reads("0123456789")
	if len(tapped) != 2 {
		t.Errorf("the tap has seen %d pieces, want one each way", len(tapped))
	}
	dialEcho(t, p)
}
